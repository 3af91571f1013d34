/**
 * What tests of repair, dual stack and coexistence share: the three sets of families, and a host's overlay as
 * lines of text.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { FamilyName } from "../../lib/net/family.ts";
import { formatIp, parseIp } from "../../lib/net/ip.ts";
import type { Host } from "../../scripts/lab/host.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";

/** How fast the daemon must correct what the kernel reports, in milliseconds. */
export const HEAL_LIMIT = 2_000;

/** Which families a network has. */
export interface FamilySet {
  readonly name: string;
  readonly families: readonly FamilyName[];
}

/** Dual stack: what heals there heals in each family. */
export const DUAL: FamilySet = { name: "dual stack", families: ["ipv4", "ipv6"] };

/** The matrix of every path: IPv4 only, IPv6 only, both. */
export const FAMILY_SETS: readonly FamilySet[] = [
  { name: "IPv4 only", families: ["ipv4"] },
  { name: "IPv6 only", families: ["ipv6"] },
  DUAL,
];

/** The VXLAN device of each family, with VNI 1. */
export const DEVICES: Readonly<Record<FamilyName, string>> = { ipv4: "flannel.1", ipv6: "flannel-v6.1" };

/** The `ip` option of each family. */
export const IP_OPTION: Readonly<Record<FamilyName, "-4" | "-6">> = { ipv4: "-4", ipv6: "-6" };

/** A host's address on the underlay, as the kernel and the daemon print it; undefined without one. */
export function addressOf(host: Host, family: FamilyName): string | undefined {
  const address = host.addresses[family];
  return address && formatIp(parseIp(address));
}

const OVERLAY = [
  "ip -d -o link show type vxlan",
  "ip -o address",
  "ip neigh show nud permanent",
  "bridge fdb",
  "ip -4 route",
  "ip -6 route",
].join("; ");

/**
 * Everything of the overlay in a host's kernel, one line for each thing, sorted: devices, their addresses,
 * neighbours, forwarding entries, and routes with the daemon's protocol number. Without what a device or
 * next-hop object made again has anew (its index, its id), and without what passes (a tentative address).
 */
export async function overlayOf(host: Host): Promise<string[]> {
  const { stdout } = await host.exec(["sh", "-c", OVERLAY]);
  return stdout.split("\n")
    .filter((line) => /flannel|fl6?\.|proto 70/.test(line))
    .map((line) => line.replace(/^\d+: /, "").replace(/nhid \d+ | tentative/g, "").trim())
    .sort();
}

/** Waits until the overlay is as it was. */
export async function untilOverlay(
  host: Host,
  wanted: readonly string[],
  what: string,
  milliseconds: number = HEAL_LIMIT,
): Promise<void> {
  await until(what, async () => {
    assert.deepEqual(await overlayOf(host), wanted);
    return true;
  }, milliseconds);
}

/** Starts all daemons, connects containers, waits until all of them ping; gives every host's overlay. */
export async function startNetwork(lab: Lab, args: readonly string[] = []): Promise<Map<Host, string[]>> {
  await lab.startAll({ args });
  await lab.connect();
  await lab.pingAll();
  const entries = lab.hosts.map(async (host) => [host, await overlayOf(host)] as const);
  return new Map(await Promise.all(entries));
}

/** A peer as one host's kernel knows it, by family. */
export interface KnownPeer {
  readonly family: FamilyName;
  readonly device: string;
  /** `10.5.88.0/24`. */
  readonly subnet: string;
  /** `10.5.88.0`: its VTEP. */
  readonly gateway: string;
  readonly mac: string;
  /** Where the fdb says that the MAC is. */
  readonly remote: string;
}

/** The first peer that stands behind a host's VXLAN device. */
export async function firstPeer(host: Host, family: FamilyName): Promise<KnownPeer> {
  const device = DEVICES[family];
  const [route] = (await host.routes(IP_OPTION[family], device)).filter((line) => / via /.test(line));
  const [subnet, , gateway] = route!.split(" ");
  const neighbour = (await host.neighbours(device)).find((line) => line.startsWith(`${gateway} `));
  const mac = neighbour!.split(" ")[2]!;
  const entry = (await host.fdb(device)).find((line) => line.startsWith(mac));
  return { family, device, subnet: subnet!, gateway: gateway!, mac, remote: entry!.split(" ")[2]! };
}

/** The lease that a host's daemon holds; its value as an object. */
export async function leaseOf(host: Host): Promise<{ key: string; value: Record<string, unknown> }> {
  const { lease } = JSON.parse(await host.fetchText("/status"));
  return { key: lease.key, value: JSON.parse(lease.value) };
}
