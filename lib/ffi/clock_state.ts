/**
 * Whether the host's clock follows a time server (adjtimex(2), sys/timex.h).
 *
 * @module
 */
import { check } from "./errno.ts";
import { libc } from "./libc.ts";

/** Bytes of struct timex on 64-bit machines. */
const TIMEX_BYTES = 208;

/** Offsets in it: s64 maxerror in microseconds, s32 status. */
const MAXERROR = 24, STATUS = 40;

/** The clock isn't synchronized. */
const STA_UNSYNC = 0x40;

/** What the kernel knows of its clock. */
export interface ClockState {
  readonly synchronized: boolean;
  /** The largest error that the time service allows for, in microseconds. */
  readonly maxErrorUs: number;
}

/** Reads the clock's state; changes nothing (modes 0). @throws {SystemError} As adjtimex(2). */
export function clockState(): ClockState {
  const timex = new DataView(new ArrayBuffer(TIMEX_BYTES));
  check(libc().adjtimex(new Uint8Array(timex.buffer)), "read the state of the clock");
  return {
    synchronized: (timex.getInt32(STATUS, true) & STA_UNSYNC) === 0,
    maxErrorUs: Number(timex.getBigInt64(MAXERROR, true)),
  };
}
