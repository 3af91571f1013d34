/**
 * Doing something again and again, and soon after an event.
 *
 * @module
 */
import { pause } from "../time/pause.ts";
import { Wake } from "../time/wake.ts";

/** How long events are collected before a pass, in milliseconds: one rarely comes alone. */
const COALESCE_MS = 20;
/** After a pass that an event asked for, the next such pass waits for this many times as long as it took … */
const DUTY = 10;
/** … within these bounds, in milliseconds. */
const SHORTEST_REST_MS = 100, LONGEST_REST_MS = 1_000;

/** The first retry after a failure, in milliseconds; each further one comes twice as late, up to the interval. */
const RETRY_MS = 1_000;

/** When a pass is done. */
export interface KeepOptions {
  /** Passes are at most this many milliseconds apart. */
  readonly interval: number;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Each event asks for a pass soon. */
  readonly events?: AsyncIterable<unknown> | undefined;
  /** Called after each pass, with what it failed with, if it did; and for events that can't be read any more. */
  readonly onResult: (error?: unknown) => void;
}

/** Does `pass` every now and then until the signal fires. Never rejects. */
export async function keepAt(
  { interval, signal, events, onResult }: KeepOptions,
  pass: () => Promise<unknown>,
): Promise<void> {
  const wake = new Wake(signal);
  const reading = events && readAll(events, wake).catch(onResult);
  let wait = interval;
  let retry = RETRY_MS;
  for (;;) {
    const isAsked = await wake.within(wait);
    if (isAsked) await pause(COALESCE_MS, signal);
    if (signal.aborted) break;
    wake.take();
    const began = performance.now();
    await pass().then(() => {
      [wait, retry] = [interval, RETRY_MS];
      onResult();
    }, (error) => {
      [wait, retry] = [Math.min(retry, interval), Math.min(retry * 2, interval)];
      onResult(error);
    });
    const rest = (performance.now() - began) * DUTY;
    if (isAsked) await pause(Math.min(Math.max(rest, SHORTEST_REST_MS), LONGEST_REST_MS, interval), signal);
  }
  await reading;
}

async function readAll(events: AsyncIterable<unknown>, wake: Wake): Promise<void> {
  for await (const _ of events) wake.up("event");
}
