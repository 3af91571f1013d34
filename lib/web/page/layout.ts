/**
 * Where each peer stands in the picture: around this host, one by one or, when there are many, in groups that share an
 * underlay network. Pure.
 *
 * @module
 */

/** What is laid out. */
export interface Placeable {
  readonly key: string;
  readonly publicIps: readonly string[];
}

/** A peer's place, in CSS pixels from the middle. */
export interface Spot {
  readonly key: string;
  readonly x: number;
  readonly y: number;
}

/** Peers that are drawn together. */
export interface Group {
  /** The network that their public addresses share, like `10.0.3.0/24`. */
  readonly label: string;
  readonly x: number;
  readonly y: number;
  readonly radius: number;
  readonly spots: readonly Spot[];
}

/** The picture. */
export interface Layout {
  readonly groups: readonly Group[];
  /** Of a peer's dot. */
  readonly dot: number;
  /** Whether each group is one peer. */
  readonly single: boolean;
}

/** Up to so many peers have a line and a label each; and so many groups fit. */
const SINGLE = 48, MOST_GROUPS = 36;

/** Between neighbours of a sunflower, which fills a disk evenly. */
const GOLDEN_ANGLE = Math.PI * (3 - Math.sqrt(5));

/** Room around the picture for labels, and the host's own in the middle, in CSS pixels. */
const MARGIN = 34, CENTRE = 46;

/** Lays the peers out in a picture of this size. */
export function layOut(peers: readonly Placeable[], width: number, height: number): Layout {
  const outer = Math.max(60, Math.min(width, height) / 2 - MARGIN);
  const stretch = Math.max(1, Math.min(1.9, (width / 2 - MARGIN - 20) / outer));
  if (peers.length <= SINGLE) {
    const groups = peers.map((peer, index): Group => {
      const angle = -Math.PI / 2 + (index / peers.length) * 2 * Math.PI;
      // Two rings where one is too tight.
      const reach = peers.length > 24 && index % 2 === 1 ? 0.72 : 1;
      const [x, y] = [Math.cos(angle) * outer * stretch * reach, Math.sin(angle) * outer * reach];
      return { label: "", x, y, radius: 0, spots: [{ key: peer.key, x, y }] };
    });
    return { groups, dot: 7, single: true };
  }
  return packGroups(groupByNetwork(peers), outer, stretch);
}

/** Groups whose disks stand on a ring, as large as fits. */
function packGroups(
  groups: readonly [string, readonly Placeable[]][],
  outer: number,
  stretch: number,
): Layout {
  const weights = groups.map(([, peers]) => Math.sqrt(peers.length));
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  const largest = Math.max(...weights);
  // A disk of n dots with the step s between them has the radius s * sqrt(n).
  const around = (step: number) => {
    const ring = outer - step * largest;
    const length = 2 * Math.PI * ring * (1 + (stretch - 1) * 0.5);
    return { ring, fits: ring > CENTRE + step * largest && 2 * step * whole * 1.12 < length };
  };
  let step = 12;
  while (step > 1.6 && !around(step).fits) step *= 0.95;
  const ring = Math.max(around(step).ring, CENTRE);
  let at = 0;
  const placed = groups.map(([label, peers], index): Group => {
    const share = weights[index]! / whole;
    const angle = -Math.PI / 2 + (at + share / 2) * 2 * Math.PI;
    at += share;
    const [x, y] = [Math.cos(angle) * ring * stretch, Math.sin(angle) * ring];
    const spots = peers.map(({ key }, number): Spot => {
      const distance = step * Math.sqrt(number + 0.5);
      return {
        key,
        x: x + Math.cos(number * GOLDEN_ANGLE) * distance,
        y: y + Math.sin(number * GOLDEN_ANGLE) * distance,
      };
    });
    return { label, x, y, radius: step * (weights[index]! + 0.6), spots };
  });
  return { groups: placed, dot: Math.max(1.2, step * 0.62), single: false };
}

/** By the longest prefix of whole bytes, or shorter ones, that gives no more groups than fit. */
function groupByNetwork(peers: readonly Placeable[]): [string, readonly Placeable[]][] {
  for (const bits of [24, 22, 20, 18, 16, 14, 12, 8]) {
    const groups = new Map<string, Placeable[]>();
    for (const peer of peers) {
      const label = networkOf(peer.publicIps[0] ?? "", bits);
      groups.set(label, [...groups.get(label) ?? [], peer]);
      if (groups.size > MOST_GROUPS) break;
    }
    if (groups.size <= MOST_GROUPS) return [...groups];
  }
  return [["", peers]];
}

function networkOf(address: string, bits: number): string {
  const parts = address.split(".").map(Number);
  if (parts.length !== 4) {
    // Of an IPv6 address as many groups as bytes: a /64 for 24 bits.
    const groups = address.split(":").slice(0, Math.max(1, Math.round(bits / 6)));
    return `${groups.join(":").replace(/:*$/, "")}::/${groups.length * 16}`;
  }
  const value = parts.reduce((sum, part) => sum * 256 + part, 0);
  const base = Math.floor(value / 2 ** (32 - bits)) * 2 ** (32 - bits);
  return `${[24, 16, 8, 0].map((shift) => Math.floor(base / 2 ** shift) % 256).join(".")}/${bits}`;
}
