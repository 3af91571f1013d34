/**
 * gce: a route in a Compute Engine network for each host.
 *
 * @module
 */
import { type CloudEdges, openCloudBackend, systemEdges } from "../cloud/backend.ts";
import { cleanupCloudRoutes } from "../cloud/cleanup.ts";
import { examineCloud } from "../cloud/examine.ts";
import type { BackendType } from "../../lib/backend/types.ts";
import { type GceOptions, parseGceOptions } from "./options.ts";
import { GceRouteTable } from "./route_table.ts";

/** The backend with edges of its own, for tests. */
export function makeGce(edges: CloudEdges): BackendType<GceOptions> {
  return {
    type: "gce",
    parse: parseGceOptions,
    open: (_options, context) => openCloudBackend(new GceRouteTable(edges, context.log), context, edges),
    examine: (_options, context) => examineCloud(new GceRouteTable(edges, context.log), context),
    cleanup: (_options, context, lease) =>
      cleanupCloudRoutes(new GceRouteTable(edges, context.log), context, lease, edges),
  };
}

/** The gce backend. */
export const gce: BackendType<GceOptions> = makeGce(systemEdges);
