/**
 * Signals that fire when a time is up, with an error that says what took too long.
 *
 * @module
 */

/** A time limit that hangs on another signal. Disposed of, it no longer fires by itself. */
export interface Deadline extends Disposable {
  /** Fires with the other signal, or when the time is up. */
  readonly signal: AbortSignal;
}

/**
 * A limit of `ms` milliseconds from now.
 *
 * @param late The message of the error that the signal fires with.
 */
export function deadline(signal: AbortSignal, ms: number, late: string): Deadline {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new Error(late)), ms);
  return {
    signal: AbortSignal.any([signal, limit.signal]),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}
