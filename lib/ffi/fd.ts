/**
 * Small helpers around file descriptors: opening, closing, waiting, waking.
 *
 * @module
 */
import { check, EINTR, errno } from "./errno.ts";
import { cString, libc } from "./libc.ts";

/** Flags of open(2), the same on x86_64 and aarch64. */
export const O_RDONLY = 0, O_RDWR = 2, O_NONBLOCK = 0x800, O_CLOEXEC = 0x80000;

/** Commands and the one flag of fcntl(2). */
const F_GETFD = 1, F_SETFD = 2, FD_CLOEXEC = 1;

/** Descriptors that a process is started with have small numbers. */
const GIVEN_DESCRIPTORS = 256;

/** Events of poll(2). */
export const POLLIN = 1, POLLERR = 8;

/** Answer of poll(2) for a descriptor that isn't open. */
const POLLNVAL = 0x20;

const EFD_NONBLOCK = 0x800;
const EFD_CLOEXEC = 0x80000;

/** Opens `path`; close-on-exec. @throws {SystemError} As open(2). */
export function openFd(path: string, flags: number): number {
  return check(libc().open(cString(path), flags | O_CLOEXEC, 0), `open ${path}`);
}

/**
 * Keeps programs that are started from now on from getting descriptors that this process was given itself, as by a
 * shell: what it opened is close-on-exec already. 0, 1 and 2 stay as they are.
 */
export function keepDescriptorsBack(): void {
  for (let fd = 3; fd < GIVEN_DESCRIPTORS; fd++) {
    const flags = libc().fcntl(fd, F_GETFD, 0n);
    if (flags >= 0 && (flags & FD_CLOEXEC) === 0) libc().fcntl(fd, F_SETFD, BigInt(flags | FD_CLOEXEC));
  }
}

/** Closes a descriptor; errors are of no use to anyone by then. */
export function closeFd(fd: number): void {
  libc().close(fd);
}

/**
 * A set of descriptors to poll, its memory allocated once.
 *
 * One wait at a time: the answer of {@link wait} stands in this object until the next one.
 */
export class PollSet {
  readonly #view: DataView<ArrayBuffer>;
  readonly #count: bigint;

  /** @param entries Descriptors and the events to wait for. */
  constructor(entries: readonly { readonly fd: number; readonly events: number }[]) {
    // struct pollfd { int fd; short events; short revents; }
    this.#view = new DataView(new ArrayBuffer(entries.length * 8));
    entries.forEach(({ fd, events }, i) => {
      this.#view.setInt32(i * 8, fd, true);
      this.#view.setInt16(i * 8 + 4, events, true);
    });
    this.#count = BigInt(entries.length);
  }

  /**
   * Waits on a pool thread until something is ready. The event loop runs on meanwhile.
   *
   * @param timeoutMs In milliseconds; -1 waits without limit.
   * @returns How many descriptors are ready; 0 too when a signal came in between.
   */
  async wait(timeoutMs = -1): Promise<number> {
    return Math.max(0, await libc().pollAsync(this.#view, this.#count, timeoutMs));
  }

  /** The same on the calling thread, which stands still meanwhile. @throws {SystemError} As poll(2). */
  waitSync(timeoutMs: number): number {
    const ready = libc().poll(this.#view, this.#count, timeoutMs);
    if (ready < 0 && errno() === EINTR) return 0;
    return check(ready, "poll");
  }

  /** What poll found for the entry at `index` (revents). */
  ready(index: number): number {
    return this.#view.getInt16(index * 8 + 6, true);
  }
}

/** An eventfd: wakes a poll on another thread. */
export class WakeFd implements Disposable {
  readonly fd: number;
  readonly #counter: BigUint64Array<ArrayBuffer>;

  /** @throws {SystemError} As eventfd(2). */
  constructor() {
    this.#counter = new BigUint64Array(new ArrayBuffer(8));
    this.fd = check(libc().eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "make an eventfd");
  }

  /** Makes the descriptor readable. */
  wake(): void {
    this.#counter[0] = 1n;
    // Fails only with EAGAIN at a counter of 2^64 - 2: it is readable then anyway.
    libc().write(this.fd, this.#counter, 8n);
  }

  /** Makes it unreadable again. @returns Whether it had been woken. */
  reset(): boolean {
    return libc().read(this.fd, this.#counter, 8n) === 8;
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}

/**
 * Sets a socket option of an integer, or of several (a structure of 32-bit words).
 *
 * @throws {SystemError} As setsockopt(2).
 */
export function setSocketOption(
  fd: number,
  level: number,
  option: number,
  value: number | readonly number[],
  what: string,
): void {
  const words = new Int32Array(typeof value === "number" ? [value] : value);
  check(libc().setsockopt(fd, level, option, words, words.byteLength), `set ${what}`);
}

/**
 * How many of the descriptors 0 to `slots` - 1 are open, by one poll(2) that waits for nothing: under the built
 * program's permissions /proc/self/fd can't be listed.
 */
export function countOpenFds(slots: number): number {
  const fds = Array.from({ length: slots }, (_, fd) => ({ fd, events: 0 }));
  const poll = new PollSet(fds);
  poll.waitSync(0);
  return fds.filter(({ fd }) => (poll.ready(fd) & POLLNVAL) === 0).length;
}
