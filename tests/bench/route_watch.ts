/**
 * Watches a routing table grow without getting in the way: on two cores, a reader of 20,000 notifications
 * would take its time from the daemon that is measured.
 *
 * @module
 */
import { delay } from "../../scripts/lab/process.ts";
import { prefixCount } from "./procfs.ts";

/** What {@link watchRoutes} saw. */
export interface RouteGrowth {
  /** When the count was seen to change last, in milliseconds since the epoch. */
  readonly lastChange: number;
}

/** Shortest pause between two looks, in milliseconds. */
const MIN_PAUSE = 5;
/** A look walks the whole table: the pause is this many times as long, so looking costs under 5 % of a core. */
const PAUSE_FACTOR = 20;

/** When to stop watching. */
export interface WatchOptions {
  /** Watch at least until this says true. */
  readonly until: () => boolean;
  /** Stop when nothing has changed for this long after that, in milliseconds. */
  readonly quiet: number;
  /** Give up after this long, in milliseconds. */
  readonly limit: number;
}

/** Follows the size of the main table of the namespace that process `pid` is in. */
export async function watchRoutes(pid: number, options: WatchOptions): Promise<RouteGrowth> {
  const end = Date.now() + options.limit;
  let count = prefixCount(pid);
  let lastChange = Date.now();
  let stable = Date.now();
  while (Date.now() < end) {
    const began = performance.now();
    const seen = prefixCount(pid);
    const cost = performance.now() - began;
    if (seen !== count) {
      count = seen;
      lastChange = stable = Date.now();
    } else if (!options.until()) {
      stable = Date.now();
    } else if (Date.now() - stable > options.quiet) {
      break;
    }
    await delay(Math.max(MIN_PAUSE, cost * PAUSE_FACTOR));
  }
  return { lastChange };
}
