/**
 * Waiting for packets.
 *
 * @module
 */
import { POLLERR, POLLIN } from "../../../lib/ffi/fd.ts";
import { addressOf, libc } from "../../../lib/ffi/libc.ts";
import { POLLFD } from "../shared/structs.ts";

const WAIT_FOR = POLLIN | POLLERR;

/** Waits on a fixed set of descriptors and says which of them have something to read. */
export class Poller {
  readonly #libc = libc();
  /** struct pollfd as two words: the descriptor; events and, in the upper half, revents. */
  readonly #set: Int32Array<ArrayBuffer>;
  readonly #address: bigint;
  readonly #count: bigint;

  /** @param descriptors What to wait for; the numbers of {@link isReady} are places in this list. */
  constructor(descriptors: readonly number[]) {
    this.#set = new Int32Array(new ArrayBuffer(descriptors.length * POLLFD.size));
    descriptors.forEach((fd, i) => {
      this.#set[i * 2] = fd;
      this.#set[i * 2 + 1] = WAIT_FOR;
    });
    this.#address = addressOf(this.#set);
    this.#count = BigInt(descriptors.length);
  }

  /**
   * Waits until something is ready.
   *
   * @param timeoutMs In milliseconds; 0 doesn't wait, -1 waits without an end.
   * @returns Whether anything is ready: a signal and the timeout end the wait, too.
   */
  wait(timeoutMs: number): boolean {
    if (this.#libc.pollPackets(this.#address, this.#count, timeoutMs) > 0) return true;
    // After a signal the answer is that of the wait before.
    for (let i = 1; i < this.#set.length; i += 2) this.#set[i] = WAIT_FOR;
    return false;
  }

  /** Whether the last wait found the descriptor at `place` readable or broken: the read then says which. */
  isReady(place: number): boolean {
    return this.#set[place * 2 + 1]! >>> 16 !== 0;
  }
}
