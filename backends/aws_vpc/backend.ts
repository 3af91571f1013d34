/**
 * aws-vpc: a route in a VPC's route table for each host.
 *
 * @module
 */
import { type CloudEdges, openCloudBackend, systemEdges } from "../cloud/backend.ts";
import { cleanupCloudRoutes } from "../cloud/cleanup.ts";
import { examineCloud } from "../cloud/examine.ts";
import type { BackendType } from "../../lib/backend/types.ts";
import { type AwsVpcOptions, parseAwsVpcOptions } from "./options.ts";
import { AwsRouteTable } from "./route_table.ts";

/** The backend with edges of its own, for tests. */
export function makeAwsVpc(edges: CloudEdges): BackendType<AwsVpcOptions> {
  return {
    type: "aws-vpc",
    parse: parseAwsVpcOptions,
    open: (options, context) => openCloudBackend(new AwsRouteTable(options, edges, context), context, edges),
    examine: (options, context) => examineCloud(new AwsRouteTable(options, edges, context), context),
    cleanup: (options, context, lease) =>
      cleanupCloudRoutes(new AwsRouteTable(options, edges, context), context, lease, edges),
  };
}

/** The aws-vpc backend. */
export const awsVpc: BackendType<AwsVpcOptions> = makeAwsVpc(systemEdges);
