/**
 * Whether TCP passes, asked at a port that nobody listens on: a host refuses such a connection at once. Its
 * checksums are the kernel's or the network card's, where an echo request has them from this program: a card or
 * driver that spoils them shows here.
 *
 * @module
 */
import { check, errno, SystemError } from "../ffi/errno.ts";
import { closeFd, POLLIN, PollSet } from "../ffi/fd.ts";
import { libc } from "../ffi/libc.ts";
import type { Ip } from "../net/ip.ts";
import { socketAddress } from "./socket_address.ts";

const SOCK_STREAM_CLOEXEC_NONBLOCK = 1 | 0x80000 | 0x800;
/** discard (RFC 863): no host listens there any more. */
const PORT = 9;
const POLLOUT = 4;
const SOL_SOCKET = 1, SO_ERROR = 4;
const EINPROGRESS = 115, ETIMEDOUT = 110;

/**
 * Tries a connection.
 *
 * @param source The own overlay address, if this host has it.
 * @returns Undefined where nothing can be said, like when sending fails.
 */
export async function knock(
  to: Ip,
  source: Ip | undefined,
  timeoutMs: number,
): Promise<"answered" | "silent" | undefined> {
  const fd = check(libc().socket(to.family.af, SOCK_STREAM_CLOEXEC_NONBLOCK, 0), "open a TCP socket");
  try {
    if (source) {
      const own = socketAddress(source.family, source);
      libc().bind(fd, own, own.length);
    }
    const address = socketAddress(to.family, to, PORT);
    if (libc().connect(fd, address, address.length) === 0) return "answered";
    const reason = errno();
    if (reason !== EINPROGRESS) return isRefusal(reason) ? "answered" : undefined;
    const poll = new PollSet([{ fd, events: POLLIN | POLLOUT }]);
    if (await poll.wait(timeoutMs) === 0) return "silent";
    const outcome = new Int32Array(1);
    const length = new Uint32Array([4]);
    check(libc().getsockopt(fd, SOL_SOCKET, SO_ERROR, outcome, length), "read a connection's outcome");
    if (outcome[0] === ETIMEDOUT) return "silent";
    return outcome[0] === 0 || isRefusal(outcome[0]!) ? "answered" : undefined;
  } finally {
    closeFd(fd);
  }
}

/** ECONNREFUSED: an RST came back, whose checksum was right. */
function isRefusal(reason: number): boolean {
  return new SystemError("connect", reason).code === "ECONNREFUSED";
}
