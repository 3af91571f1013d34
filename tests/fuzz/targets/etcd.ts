/**
 * etcd's answers: protobuf as the gRPC library decodes it, then leases, events and the config as our code makes them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { CallError } from "../../../lib/leases/etcd/client.ts";
import { extend, type History, historyOf, newestOf } from "../../../lib/leases/etcd/history.ts";
import { configOf, NetworkKeys } from "../../../lib/leases/etcd/keys.ts";
import { loadEtcd3, openChannels } from "../../../lib/leases/etcd/library.ts";
import type { RangeResponse, WatchResponse } from "../../../lib/leases/etcd/messages.ts";
import { WatchCursor } from "../../../lib/leases/etcd/watch.ts";
import { decodeLease } from "../../../lib/leases/codec.ts";
import { CompactedError } from "../../../lib/leases/types.ts";
import { type FuzzOne, type FuzzTarget, property } from "../target.ts";

/** grpc-js's client classes: what each method reads its answers with. */
interface ClientClass {
  readonly service: Readonly<Record<string, { responseDeserialize(bytes: Buffer): unknown }>>;
}

/** Bytes that aren't protobuf: gRPC makes an INTERNAL error of what its decoder throws. */
class NotProtobufError extends Error {}

const WORDS = [
  "/coreos.com/network/subnets/10.5.88.0-24",
  "/coreos.com/network/config",
  "\x0a\x00",
  "\x12\x00",
];

export const ETCD_TARGETS: readonly FuzzTarget[] = [
  {
    name: "etcd-range",
    what: "etcd's answer to a range",
    errors: [NotProtobufError],
    dictionary: WORDS,
    cost: 2,
    open: openRange,
  },
  {
    name: "etcd-watch",
    what: "what comes from etcd's watch stream",
    errors: [NotProtobufError, CallError, CompactedError],
    dictionary: WORDS,
    cost: 2,
    open: openWatch,
  },
];

/** The function that reads the answers of one method. */
async function reader<T>(service: string, method: string): Promise<(input: Uint8Array) => T> {
  const endpoint = { url: "http://127.0.0.1:1", secure: false };
  const { channels, close } = openChannels(
    await loadEtcd3(),
    endpoint as Parameters<typeof openChannels>[1],
    {},
  );
  const read = await channels.withConnection(service, ({ client }) => {
    const { service: methods } = (client as unknown as { constructor: ClientClass }).constructor;
    return methods[method]!.responseDeserialize;
  });
  close();
  return (input) => {
    try {
      return read(Buffer.from(input)) as T;
    } catch (cause) {
      throw new NotProtobufError("not protobuf", { cause });
    }
  };
}

async function openRange(): Promise<FuzzOne> {
  const read = await reader<RangeResponse>("KV", "Range");
  const keys = new NetworkKeys("/coreos.com/network");
  return (input) => {
    const { header, kvs, count } = read(input);
    for (const kv of kvs) {
      decodeLease(keys.lease(kv));
      configOf(kv);
    }
    if (header) historyOf(header, Number(count), newestOf(kvs, undefined));
  };
}

async function openWatch(): Promise<FuzzOne> {
  const read = await reader<WatchResponse>("Watch", "Watch");
  const keys = new NetworkKeys("/coreos.com/network");
  return (input) => {
    const response = read(input);
    const history: History = { clusterId: response.header?.cluster_id ?? "0", term: 1n, count: 3 };
    const cursor = new WatchCursor(7n, history);
    const batch = cursor.take(response);
    property(cursor.revision >= 7n, "the cursor goes back");
    for (const event of batch?.events ?? []) {
      const known = keys.event(event);
      if (known.kind === "put") decodeLease(known.lease);
    }
    if (batch) extend(history, batch.events);
  };
}
