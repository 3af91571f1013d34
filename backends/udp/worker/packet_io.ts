/**
 * The kernel's side of the packet path: one TUN queue and one UDP socket, as few calls with plain numbers.
 *
 * Every call returns what the system call did, or minus the errno: −11 is EAGAIN. None waits.
 *
 * @module
 */
import { errno } from "../../../lib/ffi/errno.ts";
import { addressOf, libc } from "../../../lib/ffi/libc.ts";
import type { PacketMemory } from "../../../lib/packet/memory.ts";
import { MSG_DONTWAIT } from "../shared/structs.ts";

/** Granularity of the addresses that calls take: offsets must be multiples of this, in bytes. */
export const ADDRESS_STEP = 64;

/** Calls that move packets. Offsets are in the packet memory and multiples of {@link ADDRESS_STEP}. */
export interface PacketIo {
  /** Reads one packet into the buffer at `at`, a multiple of {@link ADDRESS_STEP}; it starts {@link READ_SHIFT} bytes later. */
  readTun(at: number): number;
  /** Writes one packet that lies in one piece. */
  writeTun(at: number, length: number): number;
  /** Writes one packet of `count` pieces (struct iovec) at `pieces`. */
  writevTun(pieces: number, count: number): number;
  /** Sends `count` messages (struct mmsghdr) at `vector`; returns how many went. */
  sendMany(vector: number, count: number): number;
  /** Receives up to `count` messages into those at `vector`; returns how many came. */
  receiveMany(vector: number, count: number): number;
}

/** Longest packet with its virtio header; what every receive buffer must hold. */
export const BUFFER = 10 + 65535;

/** Where a packet's buffer starts behind a multiple of {@link ADDRESS_STEP}: the IP header after the 10 bytes is aligned. */
export const READ_SHIFT = 2;

/** Calls of one {@link LinuxPacketIo.warmUp}: some 50 us. */
const WARM_UP_CALLS = 50;

/** {@link PacketIo} by system calls. */
export class LinuxPacketIo implements PacketIo {
  readonly #libc = libc();
  #tun: number;
  #socket: number;
  /** Address of each multiple of {@link ADDRESS_STEP}. */
  readonly #addresses: bigint[] = [];
  readonly #readAddresses: bigint[] = [];
  readonly #bufferSize = BigInt(BUFFER);

  constructor(memory: PacketMemory, tun: number, socket: number) {
    this.#tun = tun;
    this.#socket = socket;
    const base = addressOf(memory.u8);
    for (let at = 0; at < memory.size; at += ADDRESS_STEP) {
      this.#addresses.push(base + BigInt(at));
      this.#readAddresses.push(base + BigInt(at + READ_SHIFT));
    }
  }

  /** Makes each call some times on a descriptor that isn't one, so that V8 compiles them before there is traffic. */
  warmUp(): void {
    const tun = this.#tun, socket = this.#socket;
    this.#tun = this.#socket = -1;
    for (let i = 0; i < WARM_UP_CALLS; i++) {
      this.readTun(0);
      this.writevTun(0, 1);
      this.sendMany(0, 1);
      this.receiveMany(0, 1);
    }
    this.#tun = tun;
    this.#socket = socket;
  }

  readTun(at: number): number {
    const n = this.#libc.readPacket(this.#tun, this.#readAddresses[at >>> 6]!, this.#bufferSize);
    return n < 0 ? -errno() : n;
  }

  writeTun(at: number, length: number): number {
    const n = this.#libc.writePacket(this.#tun, this.#addresses[at >>> 6]!, length);
    return n < 0 ? -errno() : n;
  }

  writevTun(pieces: number, count: number): number {
    const n = this.#libc.writev(this.#tun, this.#addresses[pieces >>> 6]!, count);
    return n < 0 ? -errno() : n;
  }

  sendMany(vector: number, count: number): number {
    const n = this.#libc.sendmmsg(this.#socket, this.#addresses[vector >>> 6]!, count, MSG_DONTWAIT);
    return n < 0 ? -errno() : n;
  }

  receiveMany(vector: number, count: number): number {
    const n = this.#libc.recvmmsg(this.#socket, this.#addresses[vector >>> 6]!, count, MSG_DONTWAIT, 0n);
    return n < 0 ? -errno() : n;
  }
}
