/**
 * Notifies systemd of the service's state (sd_notify(3)): datagrams to the socket in $NOTIFY_SOCKET.
 *
 * Deno's own Unix datagram sockets are behind an unstable flag, so they are made by the C library.
 *
 * @module
 */
import { check } from "../ffi/errno.ts";
import { closeFd } from "../ffi/fd.ts";
import { addressOf, libc } from "../ffi/libc.ts";

/** sys/socket.h; SOCK_CLOEXEC and MSG_DONTWAIT are the same on x86_64 and aarch64. */
const AF_UNIX = 1, SOCK_DGRAM = 2, SOCK_CLOEXEC = 0x80000;
const MSG_DONTWAIT = 0x40, MSG_NOSIGNAL = 0x4000;

/** sizeof sun_path (linux/un.h). */
const PATH_BYTES = 108;

/** Longest notification, in bytes; what is longer is cut. */
const MESSAGE_BYTES = 4096;

/**
 * Address and message of the notification being sent. It lives as long as the module, so that the memory
 * can't be collected between taking its address and the call.
 */
const memory = new Uint8Array(2 + PATH_BYTES + MESSAGE_BYTES);

/** What the service manager asked for by the environment. */
export interface NotifyEnvironment {
  /** Path, or name with `@` before it (abstract). */
  readonly socket: string | undefined;
  /** Milliseconds between two signs of life; half of what the manager allows. Absent: none are wanted. */
  readonly watchdogInterval?: number;
}

/**
 * Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
 *
 * @param pid The own process: a watchdog for another one is none of our business.
 */
export function notifyEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  pid: number,
): NotifyEnvironment {
  const socket = environment["NOTIFY_SOCKET"] || undefined;
  const microseconds = Number(environment["WATCHDOG_USEC"] ?? NaN);
  const forUs = environment["WATCHDOG_PID"] === undefined || Number(environment["WATCHDOG_PID"]) === pid;
  if (!(microseconds > 0) || !forUs) return { socket };
  return { socket, watchdogInterval: Math.max(1, Math.floor(microseconds / 2000)) };
}

/**
 * Sends one notification, like `{ READY: "1", STATUS: "leased 10.5.72.0/24" }`. Never waits.
 *
 * @returns False if there is no service manager to notify.
 * @throws {SystemError} If the socket doesn't take it.
 * @throws {RangeError} If $NOTIFY_SOCKET isn't a Unix socket.
 */
export function notify(socket: string | undefined, state: Readonly<Record<string, string>>): boolean {
  if (socket === undefined) return false;
  const address = unixAddress(socket);
  const lines = Object.entries(state).map(([key, value]) => `${key}=${value.replaceAll("\n", " ")}`);
  const message = new TextEncoder().encode(lines.join("\n")).subarray(0, MESSAGE_BYTES);
  memory.set(address);
  memory.set(message, address.length);
  const fd = check(libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "make a Unix socket");
  try {
    const start = addressOf(memory);
    const text = start + BigInt(address.length);
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    check(libc().sendto(fd, text, message.length, flags, start, address.length), `notify ${socket}`);
  } finally {
    closeFd(fd);
  }
  return true;
}

/** struct sockaddr_un: an abstract name has no zero byte at its end, its length is the address's. */
function unixAddress(socket: string): Uint8Array<ArrayBuffer> {
  const abstract = socket.startsWith("@");
  if (!abstract && !socket.startsWith("/")) {
    throw new RangeError(`NOTIFY_SOCKET ${socket}: must be an absolute path or begin with @`);
  }
  const name = new TextEncoder().encode(abstract ? `\0${socket.slice(1)}` : `${socket}\0`);
  if (name.length > PATH_BYTES) {
    throw new RangeError(`NOTIFY_SOCKET ${socket}: longer than ${PATH_BYTES} bytes`);
  }
  const address = new Uint8Array(2 + name.length);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  return address;
}
