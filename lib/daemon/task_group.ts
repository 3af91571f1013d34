/**
 * Tasks that live and end together.
 *
 * @module
 */

/** How long tasks may take to end after the signal to end, in milliseconds. */
const GRACE_MS = 700;

/** Runs tasks until the signal fires or one of them fails; then signals all to end, and waits for them. */
export class TaskGroup {
  readonly #stop = new AbortController();
  readonly #failed = Promise.withResolvers<never>();
  readonly #tasks = new Set<Promise<void>>();

  /** @param signal Ends all tasks. */
  constructor(signal: AbortSignal) {
    if (signal.aborted) this.#stop.abort(signal.reason);
    else signal.addEventListener("abort", () => this.#stop.abort(signal.reason), { once: true });
    this.#failed.promise.catch(() => {});
  }

  /** Fires when the tasks are to end. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Starts a task. Its failure ends the group, unless the group is ending anyway. */
  start(task: (signal: AbortSignal) => Promise<void>): void {
    const running = task(this.signal).catch((error) => this.fail(error)).finally(() =>
      this.#tasks.delete(running)
    );
    this.#tasks.add(running);
  }

  /** Ends the group with an error. */
  fail(error: unknown): void {
    if (this.signal.aborted) return;
    this.#failed.reject(error);
    this.#stop.abort(error);
  }

  /** Waits for the signal or a failure, then for the tasks. @throws The failure. */
  async wait(): Promise<void> {
    if (!this.signal.aborted) {
      const ended = new Promise<void>((resolve) =>
        this.signal.addEventListener("abort", () => resolve(), { once: true })
      );
      await Promise.race([ended, this.#failed.promise]).catch(() => {});
    }
    await this.settle();
    await Promise.race([this.#failed.promise, Promise.resolve()]);
  }

  /** Signals the tasks to end and waits for them, up to a limit. */
  async settle(): Promise<void> {
    this.#stop.abort();
    const grace = Promise.withResolvers<void>();
    const timer = setTimeout(grace.resolve, GRACE_MS);
    await Promise.race([Promise.all(this.#tasks), grace.promise]);
    clearTimeout(timer);
  }
}
