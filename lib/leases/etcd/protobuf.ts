/**
 * Protocol Buffers (proto3) by tables: what etcd's messages need of them.
 *
 * 64-bit numbers are decimal text, bytes are parts of the message that they came in, enumerations are names. What a
 * message doesn't hold has proto3's default; an absent message is null.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** What a field holds; an enumeration is its names, in the order of their numbers. */
type Kind = "bytes" | "string" | "bool" | "int64" | "uint64" | readonly string[] | Layout<object>;

/** A field's number and what it holds. `many`: any number of them. */
type FieldSpec = readonly [number: number, kind: Kind, many?: "many"];

interface Field {
  readonly number: number;
  readonly name: string;
  readonly kind: Kind;
  readonly wire: number;
  readonly isMany: boolean;
}

/** Wire types (protobuf.dev, "Encoding"). */
const VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5;

const NO_BYTES = Buffer.alloc(0);

/** One type of message. */
export class Layout<T extends object> {
  readonly #fields: readonly Field[];
  readonly #byNumber: readonly (Field | undefined)[];
  /** An empty message, but for the fields that hold many. */
  readonly #defaults: Readonly<Record<string, unknown>>;
  readonly #many: readonly string[];

  constructor(fields: { readonly [Name in keyof T]-?: FieldSpec }) {
    this.#fields = Object.entries<FieldSpec>(fields).map(([name, [number, kind, many]]) => ({
      ...{ number, name, kind, isMany: many !== undefined },
      wire: kind === "bytes" || kind === "string" || kind instanceof Layout ? LENGTH : VARINT,
    }));
    const byNumber: (Field | undefined)[] = [];
    for (const field of this.#fields) byNumber[field.number] = field;
    this.#byNumber = byNumber;
    this.#defaults = Object.fromEntries(this.#fields.map(({ name, kind }) => [name, defaultOf(kind)]));
    this.#many = this.#fields.filter(({ isMany }) => isMany).map(({ name }) => name);
  }

  /** The message's bytes: every field that isn't undefined or null, proto3's defaults too. */
  encode(message: T): Buffer {
    const parts: Uint8Array[] = [];
    const given = message as Readonly<Record<string, unknown>>;
    for (const { number, name, kind, wire, isMany } of this.#fields) {
      const value = given[name];
      if (value === undefined || value === null) continue;
      for (const each of isMany ? value as readonly unknown[] : [value]) {
        parts.push(varint(BigInt(number << 3 | wire)));
        const bytes = encodeValue(kind, each);
        if (wire === LENGTH) parts.push(varint(BigInt(bytes.length)));
        parts.push(bytes);
      }
    }
    return Buffer.concat(parts);
  }

  /** @throws {RangeError} If the bytes aren't a message. */
  decode(bytes: Buffer): T {
    return this.#read(new Reader(bytes), bytes.length);
  }

  #read(reader: Reader, end: number): T {
    const message: Record<string, unknown> = { ...this.#defaults };
    for (const name of this.#many) message[name] = [];
    while (reader.at < end) {
      const tag = reader.number();
      const field = this.#byNumber[tag >>> 3];
      if (!field || field.wire !== (tag & 7)) {
        reader.skip(tag & 7);
        continue;
      }
      const value = this.#readValue(reader, field.kind);
      if (field.isMany) (message[field.name] as unknown[]).push(value);
      else message[field.name] = value;
    }
    if (reader.at > end) throw new RangeError("A field goes beyond its message");
    return message as T;
  }

  #readValue(reader: Reader, kind: Kind): unknown {
    if (kind instanceof Layout) {
      const length = reader.length();
      return kind.#read(reader, reader.at + length);
    }
    switch (kind) {
      case "bytes":
        return reader.bytes();
      case "string":
        return reader.bytes().toString();
      case "bool":
        return reader.number() !== 0;
      case "int64":
      case "uint64":
        return reader.decimal(kind === "int64");
      default: {
        const number = reader.number();
        return kind[number] ?? number;
      }
    }
  }
}

function defaultOf(kind: Kind): unknown {
  if (kind instanceof Layout) return null;
  switch (kind) {
    case "bytes":
      return NO_BYTES;
    case "string":
      return "";
    case "bool":
      return false;
    case "int64":
    case "uint64":
      return "0";
    default:
      return kind[0];
  }
}

function encodeValue(kind: Kind, value: unknown): Uint8Array {
  if (kind instanceof Layout) return kind.encode(value as object);
  switch (kind) {
    case "bytes":
      return value as Uint8Array;
    case "string":
      return Buffer.from(value as string);
    case "bool":
      return varint(value ? 1n : 0n);
    case "int64":
    case "uint64":
      return varint(BigInt.asUintN(64, BigInt(value as string)));
    default:
      return varint(BigInt(kind.indexOf(value as string)));
  }
}

/** @param value Not negative. */
function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  for (; value > 0x7fn; value >>= 7n) bytes.push(Number(value & 0x7fn) | 0x80);
  bytes.push(Number(value));
  return Uint8Array.from(bytes);
}

/** Reads a message from its beginning to its end. */
class Reader {
  at = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** A varint as a number: of one beyond 2^53 the lowest bits are lost. */
  number(): number {
    let value = 0;
    for (let scale = 1;; scale *= 128) {
      const byte = this.#byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      if (scale > 2 ** 56) throw new RangeError("A number has more than 64 bits");
    }
  }

  /** A varint of 64 bits as text. They are read in three parts that numbers hold: most of them fit into two. */
  decimal(isSigned: boolean): string {
    let low = 0, middle = 0, high = 0;
    for (let shift = 0;; shift += 7) {
      const byte = this.#byte();
      if (shift < 28) low |= (byte & 0x7f) << shift;
      else if (shift < 56) middle |= (byte & 0x7f) << (shift - 28);
      else high |= (byte & 0x7f) << (shift - 56);
      if (byte < 0x80) break;
      if (shift === 63) throw new RangeError("A number has more than 64 bits");
    }
    if (high === 0 && middle < 2 ** 25) return String(middle * 2 ** 28 + low);
    const value = BigInt(high) << 56n | BigInt(middle) << 28n | BigInt(low);
    return String(isSigned ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value));
  }

  bytes(): Buffer {
    const length = this.length();
    return this.#bytes.subarray(this.at, this.at += length);
  }

  /** A length that the message has room for. */
  length(): number {
    const length = this.number();
    if (length > this.#bytes.length - this.at) throw new RangeError("A message is cut off");
    return length;
  }

  skip(wire: number): void {
    if (wire === VARINT) this.number();
    else if (wire === LENGTH) this.bytes();
    else if (wire === FIXED64) this.at += 8;
    else if (wire === FIXED32) this.at += 4;
    else throw new RangeError(`A field has wire type ${wire}`);
  }

  #byte(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new RangeError("A message is cut off");
    return byte;
  }
}
