/**
 * A worker does without an offload when the kernel refuses it; the log says so.
 *
 * @module
 */
import type { BackendSession } from "../../../lib/backend/types.ts";
import { sumCounters } from "../shared/counters.ts";
import { OFFLOAD_TEXT, OFFLOADS, type Offloads, type SharedOffloads } from "../shared/offloads.ts";
import { describeOffloads } from "./report.ts";

/** How often to look, in milliseconds. */
const INTERVAL = 5000;

/** The key under which refusals of UDP_SEGMENT are reported. */
const PROBLEM = "udp segment";

/** Looks from time to time until it is disposed of. */
export class OffloadWatch implements Disposable {
  readonly #session: Pick<BackendSession, "log" | "problems">;
  readonly #offloads: SharedOffloads;
  readonly #counters: SharedArrayBuffer;
  readonly #timer: ReturnType<typeof setInterval>;
  /** What was in force when it was last looked. */
  #known: Offloads | undefined;
  #refusals = 0;

  constructor(
    session: Pick<BackendSession, "log" | "problems">,
    offloads: SharedOffloads,
    counters: SharedArrayBuffer,
  ) {
    this.#session = session;
    this.#offloads = offloads;
    this.#counters = counters;
    this.#timer = setInterval(() => this.look(), INTERVAL);
  }

  /** The tunnel was opened anew: what is in force now is what can be lost. */
  restart(): void {
    this.#known = this.#offloads.current;
    this.#refusals = sumCounters(this.#counters).segmentDowngrades;
    this.#session.problems.clear(PROBLEM);
  }

  /** Reports what was lost since the last look. */
  look(): void {
    const { log, problems } = this.#session;
    const before = this.#known;
    const now = this.#known = this.#offloads.current;
    for (const offload of OFFLOADS) {
      if (!before?.[offload] || now[offload]) continue;
      log.warn(`The kernel refused ${OFFLOAD_TEXT[offload]}, continuing without`, {
        offloads: describeOffloads(now),
      });
    }
    if (sumCounters(this.#counters).segmentDowngrades === this.#refusals) return;
    problems.set(
      PROBLEM,
      "the kernel refuses UDP_SEGMENT on the way to some peers, their packets go one by one",
    );
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
