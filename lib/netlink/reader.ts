/**
 * Reads netlink messages and their attributes out of a buffer, in place.
 *
 * Every length is checked against what holds it before anything is read: whatever the bytes are, nothing
 * outside the message is seen. Bytes that make no sense end in a {@link MalformedMessageError}.
 *
 * @module
 */
import { type Family, IPV4, IPV6 } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import type { Mac } from "../net/mac.ts";
import { NLA_TYPE_MASK } from "./constants.ts";
import { HEADER_BYTES } from "./writer.ts";

/** Bytes that aren't a netlink message: a bug of ours or of the kernel. */
export class MalformedMessageError extends Error {
  override readonly name = "MalformedMessageError";
}

/** A message in a buffer: its header, and where its body lies. Valid until the buffer is filled again. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** nlmsg_pid: to whom an answer goes, or who caused a notification. */
  readonly portId: number;
  readonly view: DataView<ArrayBuffer>;
  /** The body's first byte and the byte after its last, as offsets in `view`. */
  readonly start: number;
  readonly end: number;
}

/**
 * Calls `visit` with each message in the first `length` bytes of `view`.
 *
 * @throws {MalformedMessageError} If a message's length doesn't fit.
 */
export function readMessages(
  view: DataView<ArrayBuffer>,
  length: number,
  visit: (message: Message) => void,
): void {
  if (length > view.byteLength) throw new MalformedMessageError(`${length} bytes of ${view.byteLength}`);
  let at = 0;
  while (length - at >= HEADER_BYTES) {
    const size = view.getUint32(at, true);
    if (size < HEADER_BYTES || size > length - at) {
      throw new MalformedMessageError(`A netlink message of ${size} bytes where ${length - at} are left`);
    }
    visit({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      portId: view.getUint32(at + 12, true),
      view,
      start: at + HEADER_BYTES,
      end: at + size,
    });
    at += (size + 3) & ~3;
  }
}

/**
 * The body's fixed structure lies before the attributes: checks that it is there.
 *
 * @returns Where it begins.
 * @throws {MalformedMessageError} If the body is shorter than `bytes`.
 */
export function fixedPart(message: Message, bytes: number): number {
  if (message.end - message.start < bytes) {
    throw new MalformedMessageError(
      `A message of type ${message.type} has ${message.end - message.start} bytes: ${bytes} expected`,
    );
  }
  return message.start;
}

/** The attributes after a fixed structure of `bytes` bytes. */
export function attributesAfter(message: Message, bytes: number): AttributeReader {
  return new AttributeReader(message.view, fixedPart(message, bytes) + ((bytes + 3) & ~3), message.end);
}

/** A prefix length as a message says it. @throws {MalformedMessageError} If it is longer than an address. */
export function prefixLength(length: number, { bits, label }: Family): number {
  if (length <= bits) return length;
  throw new MalformedMessageError(`An ${label} prefix of ${length} bits`);
}

const decoder = new TextDecoder();
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/**
 * Walks over attributes:
 *
 *     while (attributes.next()) switch (attributes.type) { case IFLA_MTU: mtu = attributes.u32(); … }
 */
export class AttributeReader {
  readonly #view: DataView<ArrayBuffer>;
  readonly #end: number;
  /** Where the next attribute begins. */
  #next: number;
  #start = 0;
  #length = 0;
  #type = -1;

  /** The attributes in `view` from `start` up to `end`. */
  constructor(view: DataView<ArrayBuffer>, start: number, end: number) {
    if (end > view.byteLength) throw new MalformedMessageError("Attributes end behind their buffer");
    this.#view = view;
    this.#next = start;
    this.#end = end;
  }

  /** Type of the attribute at hand, without its flag bits. */
  get type(): number {
    return this.#type;
  }

  /** Length of its payload in bytes. */
  get length(): number {
    return this.#length;
  }

  /**
   * Goes on to the next attribute. Up to 3 bytes at the end aren't an attribute and are ignored.
   *
   * @returns Whether there is one.
   * @throws {MalformedMessageError} If its length doesn't fit.
   */
  next(): boolean {
    const left = this.#end - this.#next;
    if (left < 4) return false;
    const size = this.#view.getUint16(this.#next, true);
    if (size < 4 || size > left) {
      throw new MalformedMessageError(`A netlink attribute of ${size} bytes where ${left} are left`);
    }
    this.#type = this.#view.getUint16(this.#next + 2, true) & NLA_TYPE_MASK;
    this.#start = this.#next + 4;
    this.#length = size - 4;
    this.#next += (size + 3) & ~3;
    return true;
  }

  u8(): number {
    return this.#view.getUint8(this.#expect(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#expect(2), true);
  }

  /** In network byte order, as ports are. */
  u16be(): number {
    return this.#view.getUint16(this.#expect(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#expect(4), true);
  }

  /** As a number: exact up to 2^53. */
  u64(): number {
    return Number(this.#view.getBigUint64(this.#expect(8), true));
  }

  i32(): number {
    return this.#view.getInt32(this.#expect(4), true);
  }

  /** An address of 4 or 16 bytes. @throws {MalformedMessageError} If it has another length. */
  ip(): Ip {
    const at = this.#start;
    if (this.#length === 4) return { family: IPV4, value: BigInt(this.#view.getUint32(at)) };
    if (this.#length !== 16) {
      throw new MalformedMessageError(`Attribute ${this.#type}: an address of ${this.#length} bytes`);
    }
    const value = (this.#view.getBigUint64(at) << 64n) | this.#view.getBigUint64(at + 8);
    return { family: IPV6, value };
  }

  /** As {@link ip}, where it must be of this family. @throws {MalformedMessageError} If it isn't. */
  ipOf({ bytes, label }: Family): Ip {
    if (this.#length === bytes) return this.ip();
    throw new MalformedMessageError(`Attribute ${this.#type}: an ${label} address of ${this.#length} bytes`);
  }

  /** A MAC address; undefined for hardware addresses of another length (InfiniBand, tunnels). */
  mac(): Mac | undefined {
    if (this.#length !== 6) return undefined;
    const view = this.#view, at = this.#start;
    return HEX[view.getUint8(at)] + ":" + HEX[view.getUint8(at + 1)] + ":" + HEX[view.getUint8(at + 2)] +
      ":" +
      HEX[view.getUint8(at + 3)] + ":" + HEX[view.getUint8(at + 4)] + ":" + HEX[view.getUint8(at + 5)];
  }

  /** Text up to its zero byte, if it has one. */
  string(): string {
    const bytes = new Uint8Array(this.#view.buffer, this.#view.byteOffset + this.#start, this.#length);
    const zero = bytes.indexOf(0);
    return decoder.decode(zero < 0 ? bytes : bytes.subarray(0, zero));
  }

  /** A copy of the payload. */
  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + this.#start, this.#length).slice();
  }

  /** The attributes within this one. */
  nested(): AttributeReader {
    return new AttributeReader(this.#view, this.#start, this.#start + this.#length);
  }

  /** The payload's place, which must have `bytes` bytes (the kernel may append more to a structure). */
  #expect(bytes: number): number {
    if (this.#length < bytes) {
      throw new MalformedMessageError(`Attribute ${this.#type}: ${this.#length} bytes, ${bytes} expected`);
    }
    return this.#start;
  }
}
