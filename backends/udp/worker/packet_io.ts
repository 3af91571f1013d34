/**
 * The kernel's two edges of the packet path, a TUN queue and a UDP socket, as few calls with plain numbers.
 *
 * Every call returns what the system call did, or minus the errno: −11 is EAGAIN. None waits.
 *
 * @module
 */

/** Granularity of the addresses that calls take: offsets must be multiples of this, in bytes. */
export const ADDRESS_STEP = 64;

/** Longest packet with its virtio header; what every receive buffer must hold. */
export const BUFFER = 10 + 65535;

/** Where a packet's buffer starts behind a multiple of {@link ADDRESS_STEP}: the IP header after the 10 bytes is aligned. */
export const READ_SHIFT = 2;

/** A queue of the TUN. Offsets are in the packet memory and multiples of {@link ADDRESS_STEP}. */
export interface TunIo {
  /** Reads one packet into the buffer at `at`; it starts {@link READ_SHIFT} bytes later. */
  read(at: number): number;
  /** Writes one packet that lies in one piece. */
  write(at: number, length: number): number;
  /** Writes one packet of `count` pieces (struct iovec) at `pieces`. */
  writePieces(pieces: number, count: number): number;
}

/** A UDP socket. Offsets are in the packet memory and multiples of {@link ADDRESS_STEP}. */
export interface SocketIo {
  /** Sends `count` messages (struct mmsghdr) at `vector`; returns how many went. */
  send(vector: number, count: number): number;
  /** Receives up to `count` messages into those at `vector`; returns how many came. */
  receive(vector: number, count: number): number;
}
