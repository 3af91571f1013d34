/**
 * The backends by the config's Type: one line each.
 *
 * @module
 */
import { BackendRegistry, erase } from "../lib/backend/registry.ts";

/** Every backend of the program. */
export const BACKENDS = new BackendRegistry({
  "vxlan": async () => erase((await import("./vxlan.ts")).vxlan),
  "host-gw": async () => erase((await import("./host_gw.ts")).hostGw),
  "udp": async () => erase((await import("./udp/backend.ts")).udp),
  "alloc": async () => erase((await import("./alloc.ts")).alloc),
  "aws-vpc": async () => erase((await import("./aws_vpc/backend.ts")).awsVpc),
  "gce": async () => erase((await import("./gce/backend.ts")).gce),
  "ali-vpc": async () => erase((await import("./ali_vpc/backend.ts")).aliVpc),
});
