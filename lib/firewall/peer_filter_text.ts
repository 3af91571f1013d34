/**
 * The peer filter's table as nft reads and prints it.
 *
 * @module
 */
import { FAMILIES, type Family } from "../net/family.ts";
import { formatIp, type Ip, parseIp } from "../net/ip.ts";
import { nftFamily, parseListing } from "./nftables_text.ts";

/** What the filter guards. */
export interface PeerFilterTarget {
  /** UDP port of the tunnel, 1 to 65535. */
  readonly port: number;
  /**
   * VXLAN network identifier. Networks of several VNIs may share a port: the filter of one must not drop what
   * the peers of another send. Absent for tunnels without one.
   */
  readonly vni?: number;
}

/** Addresses as numbers, by family: the elements of the filter's sets. */
export type PeerSets = ReadonlyMap<Family, ReadonlySet<bigint>>;

/** Name of the counter of dropped packets. */
export const DROPPED_COUNTER = "dropped";

const setName = (family: Family) => `peers${family.version}`;

/** Sorts addresses into sets. */
export function peerSets(addresses: Iterable<Ip>): PeerSets {
  const sets = new Map(FAMILIES.map((family) => [family, new Set<bigint>()]));
  for (const ip of addresses) sets.get(ip.family)!.add(ip.value);
  return sets;
}

/** Commands that put a whole filter in the place of whatever stands there, in one transaction. */
export function filterScript(table: string, target: PeerFilterTarget, peers: PeerSets): string {
  const name = `inet ${table}`;
  const rule = `add rule ${name} input udp dport ${target.port}`;
  return [
    filterRemoval(table),
    `add table ${name}`,
    `add counter ${name} ${DROPPED_COUNTER}`,
    ...FAMILIES.map((family) => `add set ${name} ${setName(family)} { type ipv${family.version}_addr; }`),
    // Before the host's own filter, which knows nothing of peers.
    `add chain ${name} input { type filter hook input priority filter - 10; policy accept; }`,
    ...FAMILIES.map((family) => `${rule} ${nftFamily(family)} saddr @${setName(family)} return`),
    // The VNI: 24 bits after the UDP header (8 bytes) and VXLAN's flags (4 bytes), RFC 7348. A datagram too
    // short to have one doesn't match, and is dropped: a first fragment that hides it gets nowhere.
    ...(target.vni === undefined ? [] : [`${rule} @th,96,24 != ${target.vni} return`]),
    `${rule} counter name ${DROPPED_COUNTER} drop`,
    ...elementCommands("add", table, peers),
    "",
  ].join("\n");
}

/** Commands that remove the filter, whether it is there or not. */
export function filterRemoval(table: string): string {
  return `add table inet ${table}\ndelete table inet ${table}`;
}

/** Commands that make a filter with `held` one with `wanted`, in one transaction; empty if they are the same. */
export function differenceScript(table: string, held: PeerSets, wanted: PeerSets): string {
  const lines = [
    ...elementCommands("add", table, subtract(wanted, held)),
    ...elementCommands("delete", table, subtract(held, wanted)),
  ];
  return lines.length === 0 ? "" : lines.join("\n") + "\n";
}

function elementCommands(verb: "add" | "delete", table: string, sets: PeerSets): string[] {
  const commands: string[] = [];
  for (const [family, addresses] of sets) {
    if (addresses.size === 0) continue;
    const elements = Array.from(addresses, (value) => formatIp({ family, value }));
    commands.push(`${verb} element inet ${table} ${setName(family)} { ${elements.join(", ")} }`);
  }
  return commands;
}

function subtract(from: PeerSets, taken: PeerSets): PeerSets {
  return new Map(FAMILIES.map((family) => {
    const without = taken.get(family);
    return [family, new Set([...from.get(family) ?? []].filter((address) => !without?.has(address)))];
  }));
}

/**
 * What stays the same of a printed table as long as nobody touches it: all but the counts.
 *
 * @param listing What `nft -j -t list table` printed: without the elements.
 */
export function filterSignature(listing: string): string {
  return JSON.stringify(
    parseListing(listing).filter((item) => !item.metainfo),
    (key, value) => key === "packets" || key === "bytes" ? undefined : value,
  );
}

/** The addresses that a full listing (`nft -j list table`) has in its sets. */
export function listedPeers(listing: string): PeerSets {
  const elements = parseListing(listing).flatMap(({ set }) =>
    FAMILIES.some((family) => setName(family) === set?.name) ? set?.elem as string[] ?? [] : []
  );
  return peerSets(elements.map(parseIp));
}

/** The count of dropped packets in what `nft -j list counter` printed. */
export function droppedCount(listing: string): number {
  const counter = parseListing(listing).find((item) => item.counter)?.counter;
  return Number(counter?.packets ?? 0);
}
