/**
 * Waiting that ends early when it should.
 *
 * @module
 */

/**
 * Waits `ms` milliseconds, or until the signal fires, whichever comes first. Never rejects. Also for no time at all it
 * lets timers and sockets have their turn.
 */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
    resolve();
  };
  const timer = setTimeout(stop, ms);
  signal?.addEventListener("abort", stop);
  return promise;
}
