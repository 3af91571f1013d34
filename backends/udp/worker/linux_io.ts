/**
 * The packet path's calls by system calls.
 *
 * @module
 */
import { errno } from "../../../lib/ffi/errno.ts";
import { libc } from "../../../lib/ffi/libc.ts";
import type { PacketMemory } from "../../../lib/packet/memory.ts";
import { MSG_DONTWAIT } from "../shared/structs.ts";
import { ADDRESS_STEP, BUFFER, READ_SHIFT, type SocketIo, type TunIo } from "./packet_io.ts";

/** Calls of one warm-up of either edge: some 50 us. */
const WARM_UP_CALLS = 100;

/** No descriptor: calls on it fail at once (EBADF) and touch nothing. */
const NO_FD = -1;

/**
 * The memory's addresses as the calls take them: each is made once, as making a bigint costs a good part of a call.
 */
class AddressTable {
  readonly #base: number;
  readonly #known: (bigint | undefined)[];

  /** @param base Address of the first byte, at offset 0 of `memory`. */
  constructor(memory: PacketMemory, base: number) {
    this.#base = base;
    this.#known = new Array(memory.size / ADDRESS_STEP).fill(undefined);
  }

  /** The address of an offset that is a multiple of {@link ADDRESS_STEP}. */
  of(at: number): bigint {
    const i = at / ADDRESS_STEP;
    return this.#known[i] ?? (this.#known[i] = BigInt(this.#base + at));
  }
}

/** {@link TunIo} by system calls. */
export class LinuxTunIo implements TunIo {
  readonly #libc = libc();
  readonly #addresses: AddressTable;
  /** The addresses of buffers that packets are read into. */
  readonly #shifted: AddressTable;
  readonly #bufferSize = BigInt(BUFFER);
  #fd: number;

  /** @param base Address of the memory's first byte. */
  constructor(memory: PacketMemory, base: number, fd: number) {
    this.#addresses = new AddressTable(memory, base);
    this.#shifted = new AddressTable(memory, base + READ_SHIFT);
    this.#fd = fd;
  }

  /** Makes each call some times without effect, so that V8 compiles them before there is traffic. */
  warmUp(): void {
    const fd = this.#fd;
    this.#fd = NO_FD;
    for (let i = 0; i < WARM_UP_CALLS; i++) {
      this.read(0);
      this.writePieces(0, 1);
    }
    this.#fd = fd;
  }

  read(at: number): number {
    const n = this.#libc.readPacket(this.#fd, this.#shifted.of(at), this.#bufferSize);
    return n < 0 ? -errno() : n;
  }

  write(at: number, length: number): number {
    const n = this.#libc.writePacket(this.#fd, this.#addresses.of(at), length);
    return n < 0 ? -errno() : n;
  }

  writePieces(pieces: number, count: number): number {
    const n = this.#libc.writev(this.#fd, this.#addresses.of(pieces), count);
    return n < 0 ? -errno() : n;
  }
}

/** {@link SocketIo} by system calls. */
export class LinuxSocketIo implements SocketIo {
  readonly #libc = libc();
  readonly #addresses: AddressTable;
  #fd: number;

  /** @param base Address of the memory's first byte. */
  constructor(memory: PacketMemory, base: number, fd: number) {
    this.#addresses = new AddressTable(memory, base);
    this.#fd = fd;
  }

  /** As {@link LinuxTunIo.warmUp}. */
  warmUp(): void {
    const fd = this.#fd;
    this.#fd = NO_FD;
    for (let i = 0; i < WARM_UP_CALLS; i++) {
      this.send(0, 1);
      this.receive(0, 1);
    }
    this.#fd = fd;
  }

  send(vector: number, count: number): number {
    const n = this.#libc.sendmmsg(this.#fd, this.#addresses.of(vector), count, MSG_DONTWAIT);
    return n < 0 ? -errno() : n;
  }

  receive(vector: number, count: number): number {
    const n = this.#libc.recvmmsg(this.#fd, this.#addresses.of(vector), count, MSG_DONTWAIT, 0n);
    return n < 0 ? -errno() : n;
  }
}
