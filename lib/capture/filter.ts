/**
 * Which packets of an interface belong to a tunnel or to subnets, as a classic BPF program. Pure.
 *
 * A packet passes if all tests of one clause do. Offsets count from the frame's first byte, so that programs work on
 * packets whose headers aren't in the kernel's linear part.
 *
 * @module
 */
import {
  AND_K,
  assemble,
  type Instruction,
  JEQ_K,
  JSET_K,
  LD_B_ABS,
  LD_H_ABS,
  LD_W_ABS,
  RET_K,
} from "../ffi/bpf.ts";
import { type Family, IPV4 } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import { firstIp, type Prefix } from "../net/prefix.ts";
import { isUdpTunnel, type Tunnel } from "../net/tunnel.ts";

/** Length of the header before the IP header: 14 with Ethernet, 0 without a link header. */
export type LinkHeader = 14 | 0;

/** A test of one value of a packet. */
type Test =
  & { readonly at: number; readonly bytes: 1 | 2 | 4; readonly mask?: number }
  & (
    /** Passes if the value, after the mask, is one of these. */
    | { readonly any: readonly number[] }
    /** Passes if one of these bits is set. */
    | { readonly bits: number }
  );

/** Tests that must all pass. */
export type Clause = readonly Test[];

const LOADS = { 1: LD_B_ABS, 2: LD_H_ABS, 4: LD_W_ABS } as const;
const UDP = 17, IPV6_FRAGMENT = 44;
/** Length of VXLAN's and ICMP's headers, and of UDP's. */
const ICMP_BYTES = 8, UDP_BYTES = 8;

/** What differs between the families, in offsets from the IP header. */
interface Layout {
  readonly version: number;
  readonly etherType: number;
  readonly protocolAt: number;
  readonly sourceAt: number;
  readonly destinationAt: number;
  readonly icmp: number;
  /** Types of ICMP errors. */
  readonly errors: readonly number[];
}

const LAYOUTS = {
  ipv4: {
    version: 0x45,
    etherType: 0x0800,
    protocolAt: 9,
    sourceAt: 12,
    destinationAt: 16,
    icmp: 1,
    errors: [3, 11],
  },
  ipv6: {
    version: 0x60,
    etherType: 0x86dd,
    protocolAt: 6,
    sourceAt: 8,
    destinationAt: 24,
    icmp: 58,
    errors: [1, 2, 3, 4],
  },
} as const satisfies Record<string, Layout>;

/** The program that accepts what any clause matches, up to `snapLength` bytes of it; without clauses: everything. */
export function compile(clauses: readonly Clause[], snapLength: number): Uint8Array<ArrayBuffer> {
  const accept: Instruction = [RET_K, 0, 0, snapLength];
  if (clauses.length === 0) return assemble([accept]);
  const parts = clauses.map((clause) => compileClause(clause, accept));
  return assemble([...parts.flat(), [RET_K, 0, 0, 0]]);
}

function compileClause(clause: Clause, accept: Instruction): Instruction[] {
  const blocks = clause.map((test) => ({ test, length: lengthOf(test) }));
  const total = blocks.reduce((sum, { length }) => sum + length, 1);
  const program: Instruction[] = [];
  for (const { test, length } of blocks) {
    const end = program.length + length;
    program.push([LOADS[test.bytes], 0, 0, test.at]);
    if (test.mask !== undefined) program.push([AND_K, 0, 0, test.mask]);
    if ("bits" in test) {
      program.push([JSET_K, 0, total - program.length - 1, test.bits]);
      continue;
    }
    test.any.forEach((value, i) => {
      const next = program.length + 1;
      const isLast = i === test.any.length - 1;
      program.push([JEQ_K, end - next, isLast ? total - next : 0, value]);
    });
  }
  return [...program, accept];
}

function lengthOf(test: Test): number {
  return 1 + Number(test.mask !== undefined) + ("bits" in test ? 1 : test.any.length);
}

/** Which outer packets are meant. */
export interface OuterFilter {
  readonly tunnel: Tunnel;
  /** Ports beyond the tunnel's own: those of peers. */
  readonly peerPorts?: readonly number[];
  readonly families: readonly Family[];
  /** Only packets from and to these; absent: of all peers. */
  readonly peers?: readonly Ip[];
}

/**
 * The outer packets of a tunnel, and ICMP errors about them. Later fragments carry no port: they are taken where a
 * peer is named.
 */
export function outerClauses(header: LinkHeader, filter: OuterFilter): Clause[] {
  return filter.families.flatMap((family) => {
    if (!filter.peers) return familyOuter(header, family, filter, undefined);
    const peers = filter.peers.filter((ip) => ip.family === family);
    return peers.flatMap((peer) => familyOuter(header, family, filter, peer));
  });
}

function familyOuter(
  header: LinkHeader,
  family: Family,
  { tunnel, peerPorts = [] }: OuterFilter,
  peer: Ip | undefined,
): Clause[] {
  const layout: Layout = LAYOUTS[family.name];
  const start = isIp(header, family);
  const upper = header + family.headerBytes;
  const protocol = isUdpTunnel(tunnel) ? UDP : tunnel.ipProtocol;
  const ports = isUdpTunnel(tunnel) ? [...new Set([...tunnel.udpPorts, ...peerPorts])] : undefined;
  const whole: Test[] = [{ at: header + layout.protocolAt, bytes: 1, any: [protocol] }];
  if (ports) {
    whole.push(...notLaterFragment(header, family), { at: upper + 2, bytes: 2, any: ports });
    const vni = isUdpTunnel(tunnel) ? tunnel.vni : undefined;
    if (vni !== undefined) {
      // The VXLAN header's second word: VNI and a reserved byte (RFC 7348, 5).
      whole.push({ at: upper + UDP_BYTES + 4, bytes: 4, mask: 0xffff_ff00, any: [(vni << 8) >>> 0] });
    }
  }
  const quoted = upper + ICMP_BYTES;
  const error: Test[] = [
    ...[{ at: header + layout.protocolAt, bytes: 1, any: [layout.icmp] } as const],
    ...notLaterFragment(header, family),
    { at: upper, bytes: 1, any: layout.errors },
    { at: quoted + layout.protocolAt, bytes: 1, any: [protocol] },
    ...ports ? [{ at: quoted + family.headerBytes + 2, bytes: 2, any: ports } as const] : [],
  ];
  if (!peer) return [[...start, ...whole], [...start, ...error]];
  const fragment = ports ? laterFragment(header, family, protocol) : undefined;
  const sides = [layout.sourceAt, layout.destinationAt];
  return sides.flatMap((at): Clause[] => [
    [...start, ...isAddress(header + at, peer), ...whole],
    [...start, ...error, ...isAddress(quoted + at, peer)],
    ...fragment ? [[...start, ...isAddress(header + at, peer), ...fragment]] : [],
  ]);
}

/**
 * Where the kernel says what kind of packet it is (SKF_AD_OFF + SKF_AD_PKTTYPE, linux/filter.h): to this host 0,
 * broadcast 1, multicast 2, to another host 3, outgoing 4 (linux/if_packet.h).
 */
const PACKET_TYPE = 0xffff_f000 + 4;
const NOT_FOR_OTHERS: Test = { at: PACKET_TYPE, bytes: 1, any: [0, 1, 2, 4] };

/** Without what a switch floods: packets between other hosts that come to this one's interface as well. */
export function ofThisHost(clauses: readonly Clause[]): Clause[] {
  return clauses.map((clause) => [NOT_FOR_OTHERS, ...clause]);
}

/** Packets from or to one of these prefixes. */
export function subnetClauses(header: LinkHeader, prefixes: readonly Prefix[]): Clause[] {
  return prefixes.flatMap((prefix) => {
    const { sourceAt, destinationAt }: Layout = LAYOUTS[prefix.family.name];
    return [sourceAt, destinationAt].map((at): Clause => [
      ...isIp(header, prefix.family, 0xf0),
      ...isWithin(header + at, prefix),
    ]);
  });
}

/** An IP packet of the family. Tunnels send outer IPv4 headers without options; others may have some. */
function isIp(header: LinkHeader, family: Family, mask = family === IPV4 ? 0xff : 0xf0): Test[] {
  const { version, etherType } = LAYOUTS[family.name];
  return [
    ...header === 14 ? [{ at: 12, bytes: 2, any: [etherType] } as const] : [],
    { at: header, bytes: 1, mask, any: [version & mask] },
  ];
}

/** IPv6 has a header of its own before fragments, which the test for the protocol has refused. */
function notLaterFragment(header: LinkHeader, family: Family): Test[] {
  return family === IPV4 ? [{ at: header + 6, bytes: 2, mask: 0x1fff, any: [0] }] : [];
}

function laterFragment(header: LinkHeader, family: Family, protocol: number): Test[] {
  if (family === IPV4) {
    return [
      { at: header + 9, bytes: 1, any: [protocol] },
      { at: header + 6, bytes: 2, bits: 0x1fff },
    ];
  }
  return [
    { at: header + 6, bytes: 1, any: [IPV6_FRAGMENT] },
    { at: header + family.headerBytes, bytes: 1, any: [protocol] },
  ];
}

function isAddress(at: number, ip: Ip): Test[] {
  return isWithin(at, { family: ip.family, base: ip.value, length: ip.family.bits });
}

/** A test for each 32-bit word that the prefix says something about. */
function isWithin(at: number, prefix: Prefix): Test[] {
  const { value } = firstIp(prefix);
  const { bits } = prefix.family;
  const tests: Test[] = [];
  for (let word = 0; word * 32 < prefix.length; word++) {
    const known = Math.min(32, prefix.length - word * 32);
    const mask = known === 32 ? 0xffff_ffff : (0xffff_ffff << (32 - known)) >>> 0;
    const any = [Number((value >> BigInt(bits - 32 - word * 32)) & 0xffff_ffffn)];
    tests.push({ at: at + word * 4, bytes: 4, ...known === 32 ? {} : { mask }, any });
  }
  return tests;
}
