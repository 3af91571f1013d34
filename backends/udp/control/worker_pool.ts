/**
 * The forwarder's threads: starting them on a set of descriptors, and stopping them.
 *
 * @module
 */
import type { PerFamily } from "../../../lib/net/family.ts";
import { WakeFd } from "../../../lib/ffi/fd.ts";
import { countersBytes } from "../shared/counters.ts";
import type { RoutesWriter } from "./routes_writer.ts";
import type { RoutesShape } from "../shared/routes_layout.ts";
import type { SharedOffloads } from "../shared/offloads.ts";
import type { SourceCheck } from "../shared/source_check.ts";
import type { WorkerEnd, WorkerMessage, WorkerSetup } from "../shared/worker_messages.ts";

/** What the workers share, for as long as the daemon runs. */
export interface PoolSetup {
  readonly routes: RoutesWriter;
  readonly shape: RoutesShape;
  readonly offloads: SharedOffloads;
  readonly sourceCheck: SourceCheck;
  /** Directions of each worker. */
  readonly workers: readonly { readonly outbound: boolean; readonly inbound: boolean }[];
}

/**
 * A fixed number of workers. They are kept between runs, so that a new TUN device finds code that is compiled
 * already.
 */
export class WorkerPool implements Disposable {
  readonly counters: SharedArrayBuffer;
  readonly #setup: PoolSetup;
  readonly #workers: Worker[];
  readonly #wake = new WakeFd();
  readonly #stop = new SharedArrayBuffer(4);

  constructor(setup: PoolSetup) {
    this.#setup = setup;
    this.counters = new SharedArrayBuffer(countersBytes(setup.workers.length));
    const url = new URL("../worker/worker.ts", import.meta.url).href;
    this.#workers = setup.workers.map((_, i) =>
      new Worker(url, { type: "module", name: `udp forwarder ${i}` })
    );
  }

  /**
   * Forwards between the TUN and the sockets until {@link stop}, or until one worker ends by itself; then the others
   * are stopped, too.
   *
   * @param onRunning Called once all workers forward.
   * @returns Why it ended.
   */
  async run(tun: number, sockets: PerFamily<number>, onRunning: () => void): Promise<WorkerEnd> {
    Atomics.store(new Int32Array(this.#stop), 0, 0);
    this.#wake.reset();
    let starting = this.#workers.length;
    const onOneRunning = () => {
      if (--starting === 0) onRunning();
    };
    const ends = this.#workers.map((worker, i) => this.#runOne(worker, i, { tun, sockets }, onOneRunning));
    const first = await Promise.race(ends);
    this.stop();
    const all = await Promise.all(ends);
    all.forEach((_, i) => this.#setup.routes.releaseWorker(i));
    return all.find((end) => end.kind === "failed") ?? all.find((end) => end.kind !== "stopped") ?? first;
  }

  #runOne(
    worker: Worker,
    i: number,
    { tun, sockets }: Pick<WorkerSetup, "tun" | "sockets">,
    onRunning: () => void,
  ): Promise<WorkerEnd> {
    const { routes, shape, offloads, sourceCheck, workers } = this.#setup;
    const ended = new Promise<WorkerEnd>((resolve) => {
      worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => {
        if (data.kind === "running") onRunning();
        else resolve(data);
      };
      worker.onerror = (event) => {
        event.preventDefault();
        resolve({ kind: "failed", message: event.message });
      };
    });
    const setup: WorkerSetup = {
      ...{ worker: i, tun, sockets, wake: this.#wake.fd, sourceCheck, shape },
      ...workers[i]!,
      ...{ stop: this.#stop, routes: routes.memory, counters: this.counters, offloads: offloads.memory },
    };
    worker.postMessage(setup);
    return ended;
  }

  /** Has the workers stop; {@link run} then resolves. */
  stop(): void {
    Atomics.store(new Int32Array(this.#stop), 0, 1);
    this.#wake.wake();
  }

  /** Ends the threads. Call after {@link run} has resolved. */
  [Symbol.dispose](): void {
    for (const worker of this.#workers) worker.terminate();
    this.#wake[Symbol.dispose]();
  }
}
