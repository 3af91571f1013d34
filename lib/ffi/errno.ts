/**
 * errno: reading it, its names and texts, and the error that carries it.
 *
 * Numbers are those of asm-generic/errno.h, which x86_64 and aarch64 share.
 *
 * @module
 */
import { libc } from "./libc.ts";

/** Number, name and text of each error that system calls and netlink answers give in practice. */
const ERRORS: readonly (readonly [number, string, string])[] = [
  [1, "EPERM", "Operation not permitted"],
  [2, "ENOENT", "No such file or directory"],
  [3, "ESRCH", "No such process"],
  [4, "EINTR", "Interrupted system call"],
  [5, "EIO", "Input/output error"],
  [6, "ENXIO", "No such device or address"],
  [7, "E2BIG", "Argument list too long"],
  [9, "EBADF", "Bad file descriptor"],
  [11, "EAGAIN", "Resource temporarily unavailable"],
  [12, "ENOMEM", "Cannot allocate memory"],
  [13, "EACCES", "Permission denied"],
  [14, "EFAULT", "Bad address"],
  [16, "EBUSY", "Device or resource busy"],
  [17, "EEXIST", "File exists"],
  [18, "EXDEV", "Invalid cross-device link"],
  [19, "ENODEV", "No such device"],
  [20, "ENOTDIR", "Not a directory"],
  [21, "EISDIR", "Is a directory"],
  [22, "EINVAL", "Invalid argument"],
  [23, "ENFILE", "Too many open files in system"],
  [24, "EMFILE", "Too many open files"],
  [25, "ENOTTY", "Inappropriate ioctl for device"],
  [27, "EFBIG", "File too large"],
  [28, "ENOSPC", "No space left on device"],
  [30, "EROFS", "Read-only file system"],
  [32, "EPIPE", "Broken pipe"],
  [33, "EDOM", "Numerical argument out of domain"],
  [34, "ERANGE", "Numerical result out of range"],
  [36, "ENAMETOOLONG", "File name too long"],
  [38, "ENOSYS", "Function not implemented"],
  [39, "ENOTEMPTY", "Directory not empty"],
  [40, "ELOOP", "Too many levels of symbolic links"],
  [61, "ENODATA", "No data available"],
  [71, "EPROTO", "Protocol error"],
  [74, "EBADMSG", "Bad message"],
  [75, "EOVERFLOW", "Value too large for defined data type"],
  [77, "EBADFD", "File descriptor in bad state"],
  [88, "ENOTSOCK", "Socket operation on non-socket"],
  [89, "EDESTADDRREQ", "Destination address required"],
  [90, "EMSGSIZE", "Message too long"],
  [92, "ENOPROTOOPT", "Protocol not available"],
  [93, "EPROTONOSUPPORT", "Protocol not supported"],
  [94, "ESOCKTNOSUPPORT", "Socket type not supported"],
  [95, "EOPNOTSUPP", "Operation not supported"],
  [96, "EPFNOSUPPORT", "Protocol family not supported"],
  [97, "EAFNOSUPPORT", "Address family not supported by protocol"],
  [98, "EADDRINUSE", "Address already in use"],
  [99, "EADDRNOTAVAIL", "Cannot assign requested address"],
  [100, "ENETDOWN", "Network is down"],
  [101, "ENETUNREACH", "Network is unreachable"],
  [102, "ENETRESET", "Network dropped connection on reset"],
  [103, "ECONNABORTED", "Software caused connection abort"],
  [104, "ECONNRESET", "Connection reset by peer"],
  [105, "ENOBUFS", "No buffer space available"],
  [106, "EISCONN", "Transport endpoint is already connected"],
  [107, "ENOTCONN", "Transport endpoint is not connected"],
  [110, "ETIMEDOUT", "Connection timed out"],
  [111, "ECONNREFUSED", "Connection refused"],
  [112, "EHOSTDOWN", "Host is down"],
  [113, "EHOSTUNREACH", "No route to host"],
  [114, "EALREADY", "Operation already in progress"],
  [115, "EINPROGRESS", "Operation now in progress"],
  [125, "ECANCELED", "Operation canceled"],
];

const BY_NUMBER = new Map(ERRORS.map(([number, name, text]) => [number, { name, text }]));

/** Numbers of the errors that this program distinguishes. */
export const ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, EBADF = 9, EAGAIN = 11;
export const EACCES = 13, EEXIST = 17, ENODEV = 19, EINVAL = 22, EPROTO = 71;
export const EBADFD = 77;
export const EMSGSIZE = 90, ENOPROTOOPT = 92, EOPNOTSUPP = 95, EAFNOSUPPORT = 97;
export const EADDRINUSE = 98;
export const ENETUNREACH = 101, ENOBUFS = 105, EHOSTUNREACH = 113;

/** The symbol of an errno value: `ENOENT`; `errno 999` for numbers outside the table. */
export function errnoName(errno: number): string {
  return BY_NUMBER.get(errno)?.name ?? `errno ${errno}`;
}

/** What an errno value means, as strerror(3) says it. */
export function errnoText(errno: number): string {
  return BY_NUMBER.get(errno)?.text ?? `Unknown error ${errno}`;
}

let memory: Int32Array | undefined;

/**
 * errno of the calling thread. Only meaningful right after a synchronous call into {@link libc} that failed.
 * An isolate stays on its thread, so the address is asked for once.
 */
export function errno(): number {
  return (memory ??= errnoMemory())[0]!;
}

function errnoMemory(): Int32Array {
  const location = libc().__errno_location();
  if (location === null) throw new Error("__errno_location gave a null pointer");
  return new Int32Array(Deno.UnsafePointerView.getArrayBuffer(location, 4));
}

/** A system call that failed. */
export class SystemError extends Error {
  override readonly name: string = "SystemError";
  /** What was being done, as in `bind the netlink socket`. */
  readonly operation: string;
  /** The error's number. */
  readonly errno: number;
  /** The error's symbol, as in `EADDRINUSE`. */
  readonly code: string;

  /** @param options `text`: what is known of the reason, in place of the errno's general text. */
  constructor(operation: string, errno: number, options?: ErrorOptions & { readonly text?: string }) {
    super(`Cannot ${operation}: ${options?.text || errnoText(errno)} (${errnoName(errno)})`, options);
    this.operation = operation;
    this.errno = errno;
    this.code = errnoName(errno);
  }
}

/**
 * Passes on the result of a system call that isn't negative.
 *
 * @throws {SystemError} With the thread's errno if `result` is negative.
 */
export function check(result: number, operation: string): number {
  if (result < 0) throw new SystemError(operation, errno());
  return result;
}
