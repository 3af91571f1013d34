/**
 * The clock that the kernel stamps packets with.
 *
 * @module
 */
import { check } from "./errno.ts";
import { libc } from "./libc.ts";

const CLOCK_REALTIME = 0;
/** struct timespec of two 64-bit words. */
const time = new BigInt64Array(new ArrayBuffer(16));

/** Nanoseconds since 1970. */
export function wallClockNanoseconds(): bigint {
  check(libc().clock_gettime(CLOCK_REALTIME, time), "read the clock");
  return time[0]! * 1_000_000_000n + time[1]!;
}

/** Milliseconds since 1970, with fractions. */
export function wallClock(): number {
  check(libc().clock_gettime(CLOCK_REALTIME, time), "read the clock");
  return Number(time[0]!) * 1000 + Number(time[1]!) / 1e6;
}
