/**
 * A host as backends see it, and its peers' leases.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Environment, OpenContext } from "../../lib/backend/types.ts";
import { parseNetworkConfig } from "../../lib/config/network_config.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import { decodeLease } from "../../lib/leases/codec.ts";
import type { Lease } from "../../lib/leases/types.ts";
import { parseIp, sameIp } from "../../lib/net/ip.ts";
import type { Link } from "../../lib/netlink/types.ts";
import { noMetrics, silentLog } from "../../lib/observe/types.ts";
import { DeclaredOptions } from "../../lib/options/spec.ts";

/** What identifies the network among others on the host. */
export const NETWORK_ID = "/coreos.com/network";
const DUAL = JSON.stringify({
  Network: "10.5.0.0/16",
  EnableIPv6: true,
  IPv6Network: "fc00::/48",
  Backend: { Type: "vxlan" },
});

/** The interface to the other hosts. */
export function external(changes: Partial<ExternalInterface> = {}): ExternalInterface {
  const addresses = { ipv4: parseIp("172.30.0.2"), ipv6: parseIp("fd00::2") };
  return { name: "eth0", index: 2, mtu: 1500, addresses, publicIps: addresses, ...changes };
}

/** What a backend may look at while it is opened. */
export function context(changes: Partial<OpenContext> = {}): OpenContext {
  return {
    config: parseNetworkConfig(DUAL),
    external: external(),
    networkId: NETWORK_ID,
    links: [link({ index: 2, name: "eth0", mac: "52:54:00:00:00:01" })],
    machineId: "0123456789abcdef0123456789abcdef",
    options: new DeclaredOptions(),
    log: silentLog,
    metrics: noMetrics,
    signal: new AbortController().signal,
    ...changes,
  };
}

/** A device of the host. */
export function link(fields: Partial<Link> & Pick<Link, "index" | "name">): Link {
  return { flags: 1, mtu: 1500, ...fields };
}

/** @param onLink Addresses that are reached without a gateway. */
export function environment(onLink: string[] = [], changes: Partial<ExternalInterface> = {}): Environment {
  return { external: external(changes), isOnLink: (ip) => onLink.some((text) => sameIp(parseIp(text), ip)) };
}

/** @param value What stands in the store. */
export function peer(key: string, value: object): Lease {
  const decoded = decodeLease({ key, value: JSON.stringify(value) });
  assert.ok(decoded.lease, decoded.fault?.reason);
  return decoded.lease;
}
