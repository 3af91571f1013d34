/**
 * The backends by the config's Type: one line each.
 *
 * @module
 */
import { BackendRegistry, erase } from "../lib/backend/registry.ts";
import { CLOUD_OPTIONS } from "./cloud/daemon_options.ts";
import { UDP_OPTIONS } from "./udp/control/daemon_options.ts";

/** Every backend of the program. */
export const BACKENDS = new BackendRegistry({
  "vxlan": { load: async () => erase((await import("./vxlan.ts")).vxlan) },
  "host-gw": { load: async () => erase((await import("./host_gw.ts")).hostGw) },
  "udp": { load: async () => erase((await import("./udp/backend.ts")).udp), options: UDP_OPTIONS },
  "wireguard": {
    load: async () => erase((await import("./wireguard/backend.ts")).wireguard),
    commands: { "wireguard rotate": async () => (await import("./wireguard/rotate.ts")).rotate },
  },
  "ipip": { load: async () => erase((await import("./ipip.ts")).ipip) },
  "alloc": { load: async () => erase((await import("./alloc.ts")).alloc) },
  "aws-vpc": {
    load: async () => erase((await import("./aws_vpc/backend.ts")).awsVpc),
    options: CLOUD_OPTIONS,
  },
  "gce": { load: async () => erase((await import("./gce/backend.ts")).gce), options: CLOUD_OPTIONS },
  "ali-vpc": {
    load: async () => erase((await import("./ali_vpc/backend.ts")).aliVpc),
    options: CLOUD_OPTIONS,
  },
  "tencent-vpc": {
    load: async () => erase((await import("./tencent_vpc/backend.ts")).tencentVpc),
    options: CLOUD_OPTIONS,
  },
});
