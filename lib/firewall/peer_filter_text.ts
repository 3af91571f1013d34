/**
 * The peer filter's table as nft reads and prints it.
 *
 * @module
 */
import { FAMILIES, type Family } from "../net/family.ts";
import { formatIp, type Ip, tryParseIp } from "../net/ip.ts";
import { isUdpTunnel, type Tunnel, type UdpTunnel } from "../net/tunnel.ts";
import { parseListing } from "./nft_json.ts";
import { nftFamily } from "./nftables_text.ts";

/**
 * The elements of the filter's sets by the name of the set: addresses and ports as numbers, which are made and compared
 * several times as fast as their texts.
 */
export type PeerSets = ReadonlyMap<string, ReadonlySet<bigint>>;

/** Name of the counter of dropped packets. */
export const DROPPED_COUNTER = "dropped";

/** UDP ports at which tunnels of peers listen. */
const PORTS = "ports";

const setName = (family: Family) => `peers${family.version}`;

const SET_NAMES = [...FAMILIES.map(setName), PORTS];

function emptySets(): Map<string, Set<bigint>> {
  return new Map(SET_NAMES.map((name) => [name, new Set<bigint>()]));
}

/** Sorts addresses into sets. @param ports UDP ports at which tunnels of peers listen. */
export function peerSets(addresses: Iterable<Ip>, ports: Iterable<number> = []): PeerSets {
  const sets = emptySets();
  const ofFamily = new Map(FAMILIES.map((family) => [family, sets.get(setName(family))!]));
  for (const { family, value } of addresses) ofFamily.get(family)!.add(value);
  for (const port of ports) sets.get(PORTS)!.add(BigInt(port));
  return sets;
}

/** Commands that put a whole filter in the place of whatever stands there, in one transaction. */
export function filterScript(table: string, tunnel: Tunnel, peers: PeerSets): string {
  const name = `inet ${table}`;
  const chain = (hook: string, rules: readonly string[]) => [
    // Before the host's own filter, which knows nothing of peers.
    `add chain ${name} ${hook} { type filter hook ${hook} priority filter - 10; policy accept; }`,
    ...rules.map((rule) => `add rule ${name} ${hook} ${rule}`),
  ];
  return [
    filterRemoval(table),
    `add table ${name}`,
    `add counter ${name} ${DROPPED_COUNTER}`,
    ...FAMILIES.map((family) => `add set ${name} ${setName(family)} { type ipv${family.version}_addr; }`),
    `add set ${name} ${PORTS} { type inet_service; }`,
    ...chain("input", inputRules(tunnel)),
    ...chain("forward", forwardRules(tunnel)),
    ...elementCommands("add", table, peers),
    "",
  ].join("\n");
}

const DROP = `counter name ${DROPPED_COUNTER} drop`;

const fromPeer = (family: Family) => `${nftFamily(family)} saddr @${setName(family)}`;
const toPeer = (family: Family) => `${nftFamily(family)} daddr @${setName(family)}`;

/** What comes to this host's end of the tunnel comes from a peer, or is dropped. */
function inputRules(tunnel: Tunnel): string[] {
  const match = isUdpTunnel(tunnel) ? `udp dport ${listOf(tunnel.udpPorts)}` : ofProtocol(tunnel);
  return [
    ...FAMILIES.map((family) => `${match} ${fromPeer(family)} return`),
    ...(isUdpTunnel(tunnel) ? otherVni(match, tunnel) : []),
    `${match} ${DROP}`,
  ];
}

/**
 * What this host forwards into a peer's end of the tunnel comes from another peer, or is dropped: masqueraded, it
 * would come from this host, which the peer trusts. The first rules let all other packets pass soon. Of a fragmented
 * datagram the first fragment is dropped; the others have no port, and are nothing without it.
 */
function forwardRules(tunnel: Tunnel): string[] {
  const isUdp = isUdpTunnel(tunnel);
  const match = isUdp ? `udp dport @${PORTS}` : ofProtocol(tunnel);
  return [
    ...(isUdp
      ? ["meta l4proto != udp return", `udp dport != @${PORTS} return`, ...otherVni(match, tunnel)]
      : [`meta l4proto != ${tunnel.ipProtocol} return`]),
    ...FAMILIES.map((family) => `${fromPeer(family)} return`),
    ...FAMILIES.map((family) => `${match} ${toPeer(family)} ${DROP}`),
  ];
}

/**
 * Networks of other VNIs may share the port: theirs is not for this filter to judge. The VNI: 24 bits after the UDP
 * header (8 bytes) and VXLAN's flags (4 bytes), RFC 7348. A datagram too short to have one doesn't match, and is
 * dropped: a first fragment that hides it gets nowhere.
 */
function otherVni(match: string, { vni }: UdpTunnel): string[] {
  return vni === undefined ? [] : [`${match} @th,96,24 != ${vni} return`];
}

function ofProtocol({ ipProtocol }: { readonly ipProtocol: number }): string {
  return `meta l4proto ${ipProtocol}`;
}

function listOf(ports: readonly number[]): string {
  return ports.length === 1 ? String(ports[0]) : `{ ${ports.join(", ")} }`;
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
  return [...sets].filter(([, elements]) => elements.size > 0)
    .map(([name, elements]) => {
      const texts = Array.from(elements, (value) => elementText(name, value));
      return `${verb} element inet ${table} ${name} { ${texts.join(", ")} }`;
    });
}

function elementText(set: string, value: bigint): string {
  const family = FAMILIES.find((one) => setName(one) === set);
  return family ? formatIp({ family, value }) : String(value);
}

function subtract(from: PeerSets, taken: PeerSets): PeerSets {
  return new Map(SET_NAMES.map((name) => {
    const without = taken.get(name);
    return [name, new Set([...from.get(name) ?? []].filter((element) => !without?.has(element)))];
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

/**
 * The elements that a full listing (`nft -j list table`) has in its sets; undefined if one of them is none that
 * this filter writes, like one with a comment or a timeout.
 */
export function listedElements(listing: string): PeerSets | undefined {
  const sets = emptySets();
  for (const { set } of parseListing(listing)) {
    const name = String(set?.name);
    const known = sets.get(name);
    if (!known || set?.elem === undefined) continue;
    if (!Array.isArray(set.elem)) return undefined;
    for (const element of set.elem) {
      const value = elementValue(name, element);
      if (value === undefined) return undefined;
      known.add(value);
    }
  }
  return sets;
}

/** Undefined for what isn't a plain address or port. */
function elementValue(set: string, element: unknown): bigint | undefined {
  if (set === PORTS) return Number.isInteger(element) ? BigInt(element as number) : undefined;
  const ip = typeof element === "string" ? tryParseIp(element) : undefined;
  return ip && setName(ip.family) === set ? ip.value : undefined;
}

/** The count of dropped packets in what `nft -j list counter` printed. */
export function droppedCount(listing: string): number {
  const counter = parseListing(listing).find((item) => item.counter)?.counter;
  return Number(counter?.packets ?? 0);
}
