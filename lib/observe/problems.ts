/**
 * What is wrong now: parts report into it, and readiness, `status`, metrics and the log read from it.
 *
 * @module
 */
import type { PartLog } from "./log.ts";
import type { Metrics, ProblemOptions, ProblemReporter } from "./types.ts";
import { PROBLEM, PROBLEMS, READY } from "./problem_metrics.ts";

/** A key whose text keeps changing gets one log line in this many milliseconds. */
const LINE_INTERVAL_MS = 10_000;

/** One thing that is wrong, or that the host still waits for. */
export interface Problem {
  /** The part, like `kernel` or `peer filter`. */
  readonly key: string;
  /** What is wrong, and what the daemon does now. */
  readonly text: string;
  /** When it began: `Date.now()`. */
  readonly since: number;
  /** Whether the host isn't ready because of it. */
  readonly notReady: boolean;
}

interface Entry extends Problem {
  /** False: the host waits, nothing is wrong. */
  readonly wrong: boolean;
  readonly loggedAt: number;
  /** Whether the text as it is now stands in the log. */
  readonly logged: boolean;
}

/** What the registry writes to; none of it is needed by one that is only read. */
export interface ProblemServices {
  readonly log?: PartLog;
  readonly metrics?: Metrics;
  /** Milliseconds since the epoch. @default Date.now */
  readonly now?: () => number;
}

/** The one registry of the process. */
export class Problems implements ProblemReporter {
  readonly #entries = new Map<string, Entry>();
  readonly #log: PartLog | undefined;
  readonly #metrics: Metrics | undefined;
  readonly #now: () => number;

  constructor({ log, metrics, now = Date.now }: ProblemServices = {}) {
    this.#log = log;
    this.#metrics = metrics;
    this.#now = now;
    this.#gaugeReady();
  }

  wait(key: string, text: string): void {
    this.#put(key, text, { notReady: true, wrong: false });
  }

  set(key: string, text: string, { notReady = false }: ProblemOptions = {}): void {
    this.#put(key, text, { notReady, wrong: true });
  }

  clear(key: string, text = "solved"): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    if (entry.wrong) {
      const seconds = Math.round((this.#now() - entry.since) / 1000);
      this.#log?.child(key).info(text, { afterSeconds: seconds });
      this.#gauge(key, 0);
    }
    this.#gaugeReady();
  }

  /** What is wrong, the oldest first. */
  list(): Problem[] {
    return [...this.#entries.values()].filter(({ wrong }) => wrong).map(({ key, text, since, notReady }) => ({
      key,
      text,
      since,
      notReady,
    }));
  }

  /** Why the host isn't ready, as `key: text`; empty when it is. */
  notReady(): string[] {
    return [...this.#entries.values()].filter(({ notReady }) => notReady)
      .map(({ key, text }) => `${key}: ${text}`);
  }

  #put(key: string, text: string, { notReady, wrong }: { notReady: boolean; wrong: boolean }): void {
    const before = this.#entries.get(key);
    const now = this.#now();
    const isNew = before?.wrong !== wrong;
    const wasLogged = !isNew && before.text === text && before.logged;
    const logged = wasLogged || isNew || now - before.loggedAt >= LINE_INTERVAL_MS;
    const loggedAt = logged && !wasLogged ? now : before?.loggedAt ?? now;
    const since = isNew ? now : before.since;
    this.#entries.set(key, { key, text, since, notReady, wrong, logged, loggedAt });
    if (wrong && logged && !wasLogged) this.#log?.child(key).warn(text);
    if (before?.wrong && !wrong) this.#gauge(key, 0);
    if (wrong && isNew) {
      this.#gauge(key, 1);
      this.#metrics?.count(PROBLEMS, { key });
    }
    this.#gaugeReady();
  }

  #gauge(key: string, value: number): void {
    this.#metrics?.gauge(PROBLEM, value, { key });
  }

  #gaugeReady(): void {
    const isReady = [...this.#entries.values()].every(({ notReady }) => !notReady);
    this.#metrics?.gauge(READY, isReady ? 1 : 0);
  }
}
