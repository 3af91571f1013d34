/**
 * gRPC's messages in a stream of bytes (grpc/grpc, doc/PROTOCOL-HTTP2.md).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { CallError } from "./faults.ts";

/** A message's head: a byte for compression, and the length. */
const HEAD = 5;

/** gRPC's INTERNAL. */
const INTERNAL = 13;

/** A message with its head, not compressed. */
export function frameOf(message: Uint8Array): Buffer {
  const head = Buffer.alloc(HEAD);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Cuts a stream into messages. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #size = 0;
  /** Bytes that the next step takes: of the head, then of the whole message. */
  #needed = HEAD;

  /** The messages that are complete with this chunk. @throws {CallError} If one is compressed. */
  take(chunk: Buffer): Buffer[] {
    const messages: Buffer[] = [];
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#size >= this.#needed) {
      const bytes = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
      const end = HEAD + bytes.readUInt32BE(1);
      if (bytes[0] !== 0) {
        throw new CallError(INTERNAL, "the answer is compressed, and nobody asked for that");
      }
      const isComplete = bytes.length >= end;
      if (isComplete) messages.push(bytes.subarray(HEAD, end));
      const rest = isComplete ? bytes.subarray(end) : bytes;
      this.#chunks = [rest];
      this.#size = rest.length;
      this.#needed = isComplete ? HEAD : end;
    }
    return messages;
  }
}
