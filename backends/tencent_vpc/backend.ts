/**
 * tencent-vpc: a route in a Tencent Cloud VPC's route table for each host.
 *
 * @module
 */
import type { BackendType, OpenContext } from "../../lib/backend/types.ts";
import { type CloudEdges, openCloudBackend, systemEdges } from "../cloud/backend.ts";
import { cleanupCloudRoutes } from "../cloud/cleanup.ts";
import { examineCloud } from "../cloud/examine.ts";
import { TENCENT_METADATA } from "./metadata.ts";
import { parseTencentVpcOptions, type TencentVpcOptions } from "./options.ts";
import { TencentRouteTable } from "./route_table.ts";

/** The backend with edges of its own, for tests. */
export function makeTencentVpc(
  edges: CloudEdges,
  metadataBases: readonly string[] = TENCENT_METADATA,
): BackendType<TencentVpcOptions> {
  const table = (options: TencentVpcOptions, { log }: OpenContext) =>
    new TencentRouteTable(options, edges, log, metadataBases);
  return {
    type: "tencent-vpc",
    parse: parseTencentVpcOptions,
    open: (options, context) => openCloudBackend(table(options, context), context, edges),
    examine: (options, context) => examineCloud(table(options, context), context),
    cleanup: (options, context, lease) => cleanupCloudRoutes(table(options, context), context, lease, edges),
  };
}

/** The tencent-vpc backend. */
export const tencentVpc: BackendType<TencentVpcOptions> = makeTencentVpc(systemEdges);
