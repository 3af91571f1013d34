/**
 * Loss, round trips and path MTU from single echo requests.
 *
 * @module
 */
import type { Ip } from "../net/ip.ts";
import type { EchoOutcome } from "./echoer.ts";
import type { RoundTrips } from "./types.ts";

/** What echo requests of one size found. */
export class Series {
  sent = 0;
  readonly rtts: number[] = [];
  /** The last one that didn't leave. */
  unsent: { readonly code: string; readonly message: string } | undefined;
  /** The last error that came instead of an answer. */
  error: (EchoOutcome & { kind: "error" }) | undefined;

  add(outcome: EchoOutcome): void {
    this.sent++;
    if (outcome.kind === "reply") this.rtts.push(outcome.rttMs);
    else if (outcome.kind === "unsent") this.unsent = outcome;
    else if (outcome.kind === "error") this.error = outcome;
  }

  get received(): number {
    return this.rtts.length;
  }

  /** The share of requests without an answer, 0 to 1. */
  get loss(): number {
    return this.sent === 0 ? 0 : 1 - this.received / this.sent;
  }

  get trips(): RoundTrips | undefined {
    return roundTrips(this.rtts);
  }
}

/** Minimum and quantiles (nearest rank); undefined without values. */
function roundTrips(values: readonly number[]): RoundTrips | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const quantile = (q: number) => microseconds(sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!);
  return { min: microseconds(sorted[0]!), p50: quantile(0.5), p99: quantile(0.99) };
}

/** Milliseconds without what no clock measures. */
function microseconds(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}

/** What a search for the path MTU found. */
export interface PathMtu {
  /** The largest packet that was answered, in bytes. */
  readonly mtu: number;
  /** The largest that was tried. */
  readonly most: number;
  /** Who reported a smaller MTU by an ICMP error, if anyone did. */
  readonly reported?: { readonly mtu: number; readonly from: Ip };
  /** Larger packets vanish, and nobody says so. */
  readonly blackHole: boolean;
}

/** Bounds of a search. */
export interface MtuSearch {
  /** A size that passes, in bytes. */
  readonly least: number;
  /** The MTU of the first link. */
  readonly most: number;
  /** How often a size is tried before it counts as too large. */
  readonly tries: number;
}

/** Searches by echo requests that must not be fragmented. @param send Sends one of so many bytes. */
export async function findPathMtu(
  { least, most, tries }: MtuSearch,
  send: (packetBytes: number) => Promise<EchoOutcome>,
): Promise<PathMtu> {
  let reported: PathMtu["reported"];
  let vanished = false;
  const passes = async (size: number): Promise<boolean> => {
    for (let i = 0; i < tries; i++) {
      const outcome = await send(size);
      if (outcome.kind === "reply") return true;
      if (outcome.kind === "unsent") return false;
      if (outcome.kind !== "error" || outcome.error.reason !== "too big") continue;
      reported = { mtu: outcome.error.mtu ?? 0, from: outcome.from };
      return false;
    }
    vanished = true;
    return false;
  };
  const found = (mtu: number): PathMtu => ({
    mtu,
    most,
    ...reported ? { reported } : {},
    blackHole: vanished && !reported,
  });
  if (most <= least || await passes(most)) return found(most);
  let [low, high] = [least, most];
  while (high - low > 1) {
    const said = reported?.mtu;
    const size = said !== undefined && said > low && said < high ? said : (low + high) >>> 1;
    if (!await passes(size)) high = size;
    else {
      low = size;
      // What the router says and what passes agree.
      if (size === said) break;
    }
  }
  return found(low);
}
