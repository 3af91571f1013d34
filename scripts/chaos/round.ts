/**
 * One round: faults, then the checks.
 *
 * @module
 */
import { delay } from "../lab/process.ts";
import { randomSource } from "../lab/random.ts";
import type { UnexpectedEnd } from "./daemon_keeper.ts";
import type { PlannedFault } from "./fault.ts";
import type { ChaosNetwork } from "./network.ts";

/** How long it may take until every pair pings, in milliseconds. */
const PING_LIMIT = 5_000;
/** How long it may take until every host's state is that of a fresh start, in milliseconds. */
const STATE_LIMIT = 10_000;
/**
 * What didn't heal in time gets so long in all, to distinguish "late" from "never", in milliseconds. A daemon may report a
 * problem for so long, too: it waits a while before it trusts what came back.
 */
const PATIENCE = 60_000;
const PING_POLL = 50, STATE_POLL = 200;

/** What came of a round. */
export interface RoundResult {
  readonly planned: readonly PlannedFault[];
  /** From the end of the last fault until every pair pinged, in seconds; undefined: never. */
  readonly pingSeconds: number | undefined;
  /** The same until every host's state was that of a fresh start. */
  readonly stateSeconds: number | undefined;
  /** What was wrong shortly before nothing was, a line each. */
  readonly lastWrong: readonly string[];
  /** The longest time without an answer that a pair had, faults included, in seconds. */
  readonly gapSeconds: number;
  /** What was wrong when its time was up, a line each. Nothing: the round is passed. */
  readonly faults: readonly string[];
  /** Daemons that ended though they had what they need. */
  readonly ends: readonly UnexpectedEnd[];
}

/** Whether all was in time and nothing was lost. */
export function isPassed({ faults, ends }: RoundResult): boolean {
  return faults.length === 0 && ends.length === 0;
}

/** Whether it healed at all. */
export function isHealed({ pingSeconds, stateSeconds }: RoundResult): boolean {
  return pingSeconds !== undefined && stateSeconds !== undefined;
}

/** Runs the round's faults, each from its begin to its end. */
async function inflict(network: ChaosNetwork, planned: readonly PlannedFault[]): Promise<void> {
  await Promise.all(planned.map(async ({ fault, host, after, lasts, seed }) => {
    const place = { network, host: network.hosts[host]!, random: randomSource(seed) };
    await delay(after);
    await fault.begin(place);
    await delay(lasts);
    await fault.end?.(place);
  }));
}

/** Waits for the pings. @returns Seconds, and the pairs that were silent at the limit. */
async function awaitPings(network: ChaosNetwork, healed: number) {
  const { pinger } = network;
  let silent: string[] = [];
  for (;;) {
    const answered = pinger.allAnsweredAfter(healed);
    if (answered !== undefined) return { seconds: (answered - healed) / 1000, silent };
    const passed = performance.now() - healed;
    if (passed > PING_LIMIT && silent.length === 0) silent = pinger.silentSince(healed);
    if (passed > PATIENCE) return { seconds: undefined, silent };
    await delay(PING_POLL);
  }
}

/** Waits for the state. @returns Seconds, what was wrong when its time was up, and what was wrong last. */
async function awaitState(network: ChaosNetwork, healed: number) {
  const wrong: string[] = [];
  let last: readonly string[] = [];
  let seconds: number | undefined;
  let isStateJudged = false;
  for (;;) {
    const { state, problems } = await network.faults().catch((error) => ({
      state: [`cannot look: ${error}`],
      problems: [],
    }));
    const passed = performance.now() - healed;
    if (state.length === 0) seconds ??= passed / 1000;
    else [seconds, last] = [undefined, state];
    if (state.length === 0 && problems.length === 0) return { seconds, wrong, last };
    if (passed > STATE_LIMIT && !isStateJudged) {
      wrong.push(...state);
      isStateJudged = true;
    }
    if (passed > PATIENCE) return { seconds, wrong: [...wrong, ...problems], last };
    await delay(STATE_POLL);
  }
}

/** Runs a round to its end. */
export async function runRound(
  network: ChaosNetwork,
  planned: readonly PlannedFault[],
): Promise<RoundResult> {
  const began = performance.now();
  await inflict(network, planned);
  const healed = performance.now();
  const [pings, state] = await Promise.all([awaitPings(network, healed), awaitState(network, healed)]);
  const ends = network.hosts.flatMap(({ daemon }) => daemon.takeUnexpectedEnds());
  return {
    planned,
    pingSeconds: pings.seconds,
    stateSeconds: state.seconds,
    lastWrong: state.last,
    gapSeconds: network.pinger.longestGap(began, performance.now()) / 1000,
    faults: [...pings.silent.map((pair) => `no ping within 5 s: ${pair}`), ...state.wrong],
    ends,
  };
}
