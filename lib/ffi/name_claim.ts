/**
 * A name that one process of a network namespace holds: the address of a Unix socket in the abstract namespace (unix(7)).
 *
 * It needs no file, so that it holds between processes that share the network and nothing else, as containers on the
 * host's network do; and the kernel gives it back when the process ends, however it ends.
 *
 * @module
 */
import { check, EADDRINUSE, errno, SystemError } from "./errno.ts";
import { closeFd } from "./fd.ts";
import { libc } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC_NONBLOCK = 1 | 0x80000 | 0x800;
const SOL_SOCKET = 1, SO_PEERCRED = 17;
/** Nobody is ever accepted: the queue is for those who ask who holds the name. */
const BACKLOG = 128;
/** struct sockaddr_un { u16 family; char path[108]; }; the first byte of an abstract name is 0. */
const NAME_BYTES = 107;

/** Who holds a name. */
export interface NameHolder {
  /** As this process sees it; 0 where it is of another PID namespace. */
  readonly pid: number;
  readonly uid: number;
}

/** A name, held until it is disposed. */
export class NameClaim implements Disposable {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * Takes the name, unless another process has it.
   *
   * @param name At most 107 bytes.
   * @throws {RangeError} If it is longer. @throws {SystemError} As socket(2), bind(2) and listen(2).
   */
  static take(name: string): NameClaim | "taken" {
    const address = abstractAddress(name);
    const fd = openSocket();
    try {
      if (libc().bind(fd, address, address.length) < 0) {
        const number = errno();
        if (number !== EADDRINUSE) throw new SystemError(`take the name ${name}`, number);
        closeFd(fd);
        return "taken";
      }
      // Who connects is given this process's id from now on.
      check(libc().listen(fd, BACKLOG), `hold the name ${name}`);
      return new NameClaim(fd);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /** The process that holds the name; undefined where nobody does, or it can't be asked. */
  static holder(name: string): NameHolder | undefined {
    const address = abstractAddress(name);
    const fd = openSocket();
    try {
      if (libc().connect(fd, address, address.length) < 0) return undefined;
      // struct ucred { pid_t pid; uid_t uid; gid_t gid; }, of the process that called listen(2).
      const credentials = new Int32Array(3), length = new Uint32Array([12]);
      if (libc().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length) < 0) return undefined;
      return { pid: credentials[0]!, uid: credentials[1]! };
    } finally {
      closeFd(fd);
    }
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}

function openSocket(): number {
  return check(libc().socket(AF_UNIX, SOCK_STREAM_CLOEXEC_NONBLOCK, 0), "open a Unix socket");
}

function abstractAddress(name: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length > NAME_BYTES) throw new RangeError(`The name ${name} has more than ${NAME_BYTES} bytes`);
  const address = new Uint8Array(3 + bytes.length);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(bytes, 3);
  return address;
}
