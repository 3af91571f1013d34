/**
 * ali-vpc: a route in an Alibaba Cloud VPC's route table for each host.
 *
 * @module
 */
import { type CloudEdges, openCloudBackend, systemEdges } from "../cloud/backend.ts";
import { cleanupCloudRoutes } from "../cloud/cleanup.ts";
import { examineCloud } from "../cloud/examine.ts";
import type { BackendType } from "../../lib/backend/types.ts";
import { ALI_METADATA } from "./metadata.ts";
import { type AliVpcOptions, parseAliVpcOptions } from "./options.ts";
import { AliRouteTable } from "./route_table.ts";

/** The backend with edges of its own, for tests. */
export function makeAliVpc(edges: CloudEdges, metadataBase = ALI_METADATA): BackendType<AliVpcOptions> {
  const table = (options: AliVpcOptions) => new AliRouteTable(options, edges, metadataBase);
  return {
    type: "ali-vpc",
    parse: parseAliVpcOptions,
    open: (options, context) => openCloudBackend(table(options), context, edges),
    examine: (options, context) => examineCloud(table(options), context),
    cleanup: (options, context, lease) => cleanupCloudRoutes(table(options), context, lease, edges),
  };
}

/** The ali-vpc backend. */
export const aliVpc: BackendType<AliVpcOptions> = makeAliVpc(systemEdges);
