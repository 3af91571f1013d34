/**
 * Builds netlink messages, one or many after another, in one growing buffer.
 *
 * Netlink is in host byte order; both supported machines (x86_64, aarch64) are little-endian. Messages and
 * attributes begin at multiples of 4 (NLMSG_ALIGNTO, NLA_ALIGNTO); the gaps are zero.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import type { Mac } from "../net/mac.ts";
import { NLA_F_NESTED } from "./constants.ts";

/** Length of struct nlmsghdr. */
export const HEADER_BYTES = 16;
/** Length of struct nlattr. */
const ATTRIBUTE_BYTES = 4;
/** The length field of an attribute has 16 bits. */
const MAX_ATTRIBUTE_BYTES = 0xffff;

const encoder = new TextEncoder();

/** See the module's text. A writer is made once and reused: {@link reset} keeps its memory. */
export class MessageWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView<ArrayBuffer>;
  #length = 0;
  /** Where the message that is being written begins. */
  #start = 0;

  /** @param capacity First size of the buffer, in bytes. */
  constructor(capacity = 4096) {
    this.#bytes = new Uint8Array(new ArrayBuffer(capacity));
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** All that was written, without a copy: valid until the next call of any method. */
  written(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Forgets everything. */
  reset(): void {
    this.#length = 0;
  }

  /** Begins a message; what follows is its body until {@link end}. nlmsg_pid stays 0: the kernel knows us. */
  begin(type: number, flags: number, sequence: number): void {
    const at = this.#start = this.#take(HEADER_BYTES);
    this.#view.setUint16(at + 4, type, true);
    this.#view.setUint16(at + 6, flags, true);
    this.#view.setUint32(at + 8, sequence, true);
    this.#view.setUint32(at + 12, 0, true);
  }

  /** Ends the message: fills in its length. */
  end(): void {
    this.#view.setUint32(this.#start, this.#length - this.#start, true);
  }

  /** Sets flags of the message that was ended last (to ask for its acknowledgement). */
  addFlags(flags: number): void {
    const at = this.#start + 6;
    this.#view.setUint16(at, this.#view.getUint16(at, true) | flags, true);
  }

  u8(value: number): void {
    this.#grow(1);
    this.#bytes[this.#length++] = value;
  }

  u16(value: number): void {
    this.#grow(2);
    this.#view.setUint16(this.#length, value, true);
    this.#length += 2;
  }

  u32(value: number): void {
    this.#grow(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  attributeFlag(type: number): void {
    this.#attribute(type, 0);
  }

  attributeU8(type: number, value: number): void {
    const at = this.#attribute(type, 1);
    this.#bytes[at] = value;
  }

  attributeU16(type: number, value: number): void {
    const at = this.#attribute(type, 2);
    this.#view.setUint16(at, value, true);
  }

  /** In network byte order, as ports are. */
  attributeU16be(type: number, value: number): void {
    const at = this.#attribute(type, 2);
    this.#view.setUint16(at, value);
  }

  attributeU32(type: number, value: number): void {
    const at = this.#attribute(type, 4);
    this.#view.setUint32(at, value, true);
  }

  /** 4 or 16 bytes in network order. */
  attributeIp(type: number, ip: Ip): void {
    this.attributeIpValue(type, ip.family, ip.value);
  }

  /** The address `value` of `family`, for values that are no {@link Ip}, like a prefix's base. */
  attributeIpValue(type: number, family: Family, value: bigint): void {
    const at = this.#attribute(type, family.bytes);
    if (family.bytes === 4) {
      this.#view.setUint32(at, Number(value));
    } else {
      this.#view.setBigUint64(at, value >> 64n);
      this.#view.setBigUint64(at + 8, value & 0xffff_ffff_ffff_ffffn);
    }
  }

  /** The 6 bytes of a MAC address. @throws {RangeError} If `mac` is none. */
  attributeMac(type: number, mac: Mac): void {
    const at = this.#attribute(type, 6);
    if (mac.length !== 17) throw new RangeError(`${JSON.stringify(mac)} isn't a MAC address`);
    for (let i = 0; i < 6; i++) {
      const byte = hexDigit(mac.charCodeAt(i * 3)) << 4 | hexDigit(mac.charCodeAt(i * 3 + 1));
      if (byte < 0) throw new RangeError(`${JSON.stringify(mac)} isn't a MAC address`);
      this.#bytes[at + i] = byte;
    }
  }

  /** `text` with the zero byte that the kernel's NLA_NUL_STRING wants. */
  attributeString(type: number, text: string): void {
    const encoded = encoder.encode(text);
    const at = this.#attribute(type, encoded.length + 1);
    this.#bytes.set(encoded, at);
  }

  attributeBytes(type: number, bytes: Uint8Array): void {
    const at = this.#attribute(type, bytes.length);
    this.#bytes.set(bytes, at);
  }

  /**
   * An attribute whose payload is what `write` writes: attributes, or a structure and attributes.
   *
   * @throws {RangeError} If the payload is longer than an attribute can be.
   */
  nested(type: number, write: () => void): void {
    const at = this.#take(ATTRIBUTE_BYTES);
    write();
    const length = this.#length - at;
    if (length > MAX_ATTRIBUTE_BYTES) {
      throw new RangeError(`A netlink attribute has at most ${MAX_ATTRIBUTE_BYTES} bytes: got ${length}`);
    }
    this.#view.setUint16(at, length, true);
    this.#view.setUint16(at + 2, type | NLA_F_NESTED, true);
  }

  /**
   * Writes an attribute's header, makes room for its (zeroed) payload and gives the payload's place. The buffer
   * may be another one afterwards: whoever writes to it must look it up after this call, not in one expression.
   */
  #attribute(type: number, payload: number): number {
    const length = ATTRIBUTE_BYTES + payload;
    if (length > MAX_ATTRIBUTE_BYTES) {
      throw new RangeError(`A netlink attribute has at most ${MAX_ATTRIBUTE_BYTES} bytes: got ${length}`);
    }
    const at = this.#take(length);
    this.#view.setUint16(at, length, true);
    this.#view.setUint16(at + 2, type, true);
    return at + ATTRIBUTE_BYTES;
  }

  /** Takes `count` bytes, rounded up to the alignment, all zero. */
  #take(count: number): number {
    const at = this.#length;
    const aligned = (count + 3) & ~3;
    this.#grow(aligned);
    this.#length += aligned;
    this.#bytes.fill(0, at, this.#length);
    return at;
  }

  #grow(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const capacity = Math.max(this.#bytes.length * 2, this.#length + count);
    const bytes = new Uint8Array(new ArrayBuffer(capacity));
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

/** The value of a hexadecimal digit's character code; negative for others. */
function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
