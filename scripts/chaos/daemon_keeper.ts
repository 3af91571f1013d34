/**
 * Keeps a host's daemon running as its systemd unit would, and knows which ends were meant.
 *
 * @module
 */
import type { Daemon } from "../lab/daemon.ts";
import type { Host, StartOptions } from "../lab/host.ts";
import { delay } from "../lab/process.ts";

/** RestartSec of the unit, in milliseconds. */
const RESTART_AFTER = 2_000;

/** A daemon that ended though nobody made it. */
export interface UnexpectedEnd {
  readonly host: string;
  readonly code: number;
  /** The last lines of its log. */
  readonly lastLines: readonly string[];
}

/** One host's daemon. */
export class DaemonKeeper {
  readonly #ends: UnexpectedEnd[] = [];
  /** Daemons whose end is meant. */
  readonly #meant = new WeakSet<Daemon>();
  #closed = false;

  constructor(readonly host: Host, readonly options: StartOptions) {}

  /** Starts a daemon where none runs; one that ends by itself is started again. */
  start(): void {
    const isRunning = this.host.daemons.length > 0 && this.host.daemon.isRunning;
    if (this.#closed || isRunning) return;
    void this.#watch(this.host.start(this.options));
  }

  /** SIGTERM, and SIGKILL where that doesn't end it within `limit` milliseconds. */
  async stop(limit: number): Promise<void> {
    const { daemon } = this.host;
    this.#meant.add(daemon);
    await Promise.race([daemon.stop(), delay(limit)]);
    if (daemon.isRunning) await daemon.kill();
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    const { daemon } = this.host;
    this.#meant.add(daemon);
    await daemon.kill();
  }

  /** Sends a signal that doesn't end it. */
  signal(name: "SIGSTOP" | "SIGCONT"): void {
    if (this.host.daemon.isRunning) Deno.kill(this.host.daemon.pid, name);
  }

  /** Ends since the last call that nobody meant. */
  takeUnexpectedEnds(): UnexpectedEnd[] {
    return this.#ends.splice(0);
  }

  /** From now on an end is an end. */
  close(): void {
    this.#closed = true;
  }

  async #watch(daemon: Daemon): Promise<void> {
    const { code } = await daemon.end();
    if (this.#meant.has(daemon) || this.#closed) return;
    const lastLines = daemon.log.split("\n").slice(-5);
    this.#ends.push({ host: this.host.name, code, lastLines });
    await delay(RESTART_AFTER);
    // A fault may have started another one meanwhile.
    if (this.host.daemon === daemon) this.start();
  }
}
