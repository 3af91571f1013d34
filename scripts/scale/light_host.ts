/**
 * A host as etcd sees it: a connection, and the calls that a flanneld makes when it joins: the config, the leases, a
 * grant, a transaction, a watch. It has no kernel and remembers nothing.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type ClientHttp2Session, connect } from "node:http2";
import { PREFIX } from "../lab/store.ts";
import { peerKey, peerValue } from "./peers.ts";
import { call, fieldsOf, message, openCall } from "./wire.ts";

const SUBNETS = `${PREFIX}/subnets/`;
/** The key behind all subnets. */
const SUBNETS_END = `${SUBNETS.slice(0, -1)}0`;
/** As flanneld lists. */
const PAGE = 2000;
/** Seconds; longer than any run. */
const TTL = 3600;

/** Fields of etcd's messages (rpc.proto, kv.proto), by their numbers. */
const RANGE = { key: 1, end: 2, limit: 3, revision: 4 } as const;
const RANGE_ANSWER = { header: 1, kvs: 2, more: 3 } as const;

/** One of thousands. */
export class LightHost {
  /** Calls that it has made, the watch included. */
  calls = 0;
  /** Bytes that its watch has brought. */
  watched = 0;
  readonly #session: ClientHttp2Session;
  #failure: unknown;

  /** @param index Which peer it is: {@link peerKey}. */
  constructor(endpoint: string, readonly index: number) {
    this.#session = connect(endpoint);
    this.#session.on("error", (error) => this.#failure ??= error);
  }

  /** Joins as flanneld does, and watches from then on. @throws {Error} What etcd or the connection says. */
  async join(): Promise<void> {
    await this.#call("KV/Range", message([RANGE.key, `${PREFIX}/config`]));
    const revision = await this.#list();
    const lease = [...fieldsOf(await this.#call("Lease/LeaseGrant", message([1, TTL])))]
      .find(([field]) => field === 2)![1] as bigint;
    const key = SUBNETS + peerKey(this.index);
    // Compare: the key has version 0, that is, isn't there.
    const compare = message([1, 0], [2, 0], [3, key], [4, 0]);
    const put = message([2, message([1, key], [2, peerValue(this.index)], [3, lease])]);
    const answer = [...fieldsOf(await this.#call("KV/Txn", message([1, compare], [2, put])))];
    if (!answer.some(([field, value]) => field === 2 && value === 1n)) throw new Error(`${key} exists`);
    this.#watch(revision + 1n);
  }

  async #call(path: string, request: Uint8Array): Promise<Uint8Array> {
    this.calls++;
    if (this.#failure !== undefined) throw this.#failure;
    return await call(this.#session, path, request);
  }

  /** @returns The revision of the first page, which all others have. */
  async #list(): Promise<bigint> {
    let revision = 0n;
    for (let key: Uint8Array | undefined = Buffer.from(SUBNETS); key;) {
      const request = message(
        [RANGE.key, key],
        [RANGE.end, SUBNETS_END],
        [RANGE.limit, PAGE],
        ...revision > 0n ? [[RANGE.revision, revision] as const] : [],
      );
      const page = readPage(await this.#call("KV/Range", request));
      if (revision === 0n) revision = page.revision;
      key = page.next;
    }
    return revision;
  }

  #watch(from: bigint): void {
    this.calls++;
    // Fragments, as flanneld asks for.
    const create = message([1, SUBNETS], [2, SUBNETS_END], [3, from], [8, 1]);
    const stream = openCall(this.#session, "Watch/Watch", message([1, create]));
    stream.on("error", (error) => this.#failure ??= error);
    stream.on("data", (chunk: Uint8Array) => this.watched += chunk.length);
  }

  /** What went wrong with its connection. */
  get failure(): unknown {
    return this.#failure;
  }

  close(): void {
    this.#session.destroy();
  }
}

/** Of a page of leases what asking for the next one takes; `next` is undefined after the last page. */
function readPage(answer: Uint8Array): { revision: bigint; next: Uint8Array | undefined } {
  let revision = 0n;
  let last: Uint8Array | undefined;
  let more = false;
  for (const [field, value] of fieldsOf(answer)) {
    if (field === RANGE_ANSWER.header) {
      for (const [number, part] of fieldsOf(value as Uint8Array)) if (number === 3) revision = part as bigint;
    } else if (field === RANGE_ANSWER.kvs) last = value as Uint8Array;
    else if (field === RANGE_ANSWER.more) more = value === 1n;
  }
  if (!more || !last) return { revision, next: undefined };
  const [, key] = [...fieldsOf(last)].find(([field]) => field === 1)!;
  return { revision, next: Buffer.concat([key as Uint8Array, Uint8Array.of(0)]) };
}
