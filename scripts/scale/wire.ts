/**
 * Just enough of gRPC and protocol buffers to be one of thousands of hosts: what etcd sends to a watch is counted and
 * thrown away, which costs a hundredth of reading it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";

/** A field's value: a number (varint), or bytes, text or a message (length-delimited). */
export type Value = number | bigint | string | Uint8Array;

/** A message of these fields, by number. */
export function message(...fields: readonly (readonly [field: number, value: Value])[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [field, value] of fields) {
    if (typeof value === "number" || typeof value === "bigint") {
      parts.push(varint(BigInt(field << 3)), varint(BigInt(value)));
    } else {
      const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
      parts.push(varint(BigInt(field << 3 | 2)), varint(BigInt(bytes.length)), bytes);
    }
  }
  return Buffer.concat(parts);
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  for (; value > 0x7fn; value >>= 7n) bytes.push(Number(value & 0x7fn) | 0x80);
  bytes.push(Number(value));
  return Uint8Array.from(bytes);
}

/** The fields of a message in their order. @throws {RangeError} If it is cut off, or has another wire type. */
export function* fieldsOf(bytes: Uint8Array): Generator<[field: number, value: bigint | Uint8Array]> {
  let at = 0;
  const next = (): bigint => {
    let value = 0n;
    for (let shift = 0n;; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError("A message is cut off");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(next());
    const value = next();
    if ((tag & 7) === 0) yield [tag >> 3, value];
    else if ((tag & 7) === 2) yield [tag >> 3, bytes.subarray(at, at += Number(value))];
    else throw new RangeError(`A field of wire type ${tag & 7}`);
  }
}

/** A call's stream, with its first message sent. */
export function openCall(session: ClientHttp2Session, path: string, request: Uint8Array): ClientHttp2Stream {
  const stream = session.request({
    ":method": "POST",
    ":path": `/etcdserverpb.${path}`,
    "content-type": "application/grpc",
    te: "trailers",
  });
  const head = Buffer.alloc(5);
  head.writeUInt32BE(request.length, 1);
  stream.write(Buffer.concat([head, request]));
  return stream;
}

/** A call with one answer. @throws {Error} With gRPC's status and text, if it isn't 0. */
export function call(session: ClientHttp2Session, path: string, request: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const stream = openCall(session, path, request);
    const chunks: Uint8Array[] = [];
    let status = "no status";
    const note = (headers: Record<string, unknown>) => {
      if (headers["grpc-status"] !== undefined) {
        status = `${headers["grpc-status"]}: ${headers["grpc-message"] ?? ""}`;
      }
    };
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("end", () => {
      if (status.startsWith("0:")) resolve(Buffer.concat(chunks).subarray(5));
      else reject(new Error(`${path}: gRPC status ${status}`));
    });
    stream.end();
  });
}
