/**
 * A program that writes peers' leases into etcd as fast as it takes them, or deletes them. It runs where etcd is
 * (in the switch's namespace), speaks etcd's JSON gateway, and prints when it began and ended.
 *
 *     fill_etcd.ts ENDPOINT put FIRST COUNT PER_TRANSACTION [wireguard]
 *     fill_etcd.ts ENDPOINT delete
 *
 * @module
 */
import { peerKey, peerValue, wireguardPeerValue } from "./peers.ts";

/** What the program prints: milliseconds since the epoch. */
export interface FillTimes {
  readonly began: number;
  /** When etcd had answered the last write. */
  readonly ended: number;
}

const SUBNETS = "/coreos.com/network/subnets/";
/** Seconds; longer than any benchmark. */
const TTL = 86_400;

async function call(endpoint: string, path: string, body: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(`${endpoint}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(`etcd answered ${response.status} to ${path}: ${text}`);
  return JSON.parse(text);
}

/** Writes peers FIRST to FIRST + COUNT - 1; every transaction's keys hang on one etcd lease. */
async function put(
  endpoint: string,
  [first, count, perTransaction]: readonly [number, number, number],
  valueOf: (index: number) => string,
): Promise<void> {
  const { ID: lease } = await call(endpoint, "lease/grant", { TTL });
  for (let start = first; start < first + count; start += perTransaction) {
    const size = Math.min(perTransaction, first + count - start);
    const puts = Array.from({ length: size }, (_, offset) => ({
      key: btoa(SUBNETS + peerKey(start + offset)),
      value: btoa(valueOf(start + offset)),
      lease,
    }));
    if (size === 1) await call(endpoint, "kv/put", puts[0]);
    else await call(endpoint, "kv/txn", { success: puts.map((request) => ({ request_put: request })) });
  }
}

/** Deletes all leases at once. */
async function deleteAll(endpoint: string): Promise<void> {
  const end = `${SUBNETS.slice(0, -1)}0`; // The character after "/": a range over the prefix.
  await call(endpoint, "kv/deleterange", { key: btoa(SUBNETS), range_end: btoa(end) });
}

if (import.meta.main) {
  const [endpoint, action, first, count, perTransaction, kind] = Deno.args;
  const began = Date.now();
  const valueOf = kind === "wireguard" ? wireguardPeerValue : peerValue;
  if (action === "put") {
    await put(endpoint!, [Number(first), Number(count), Number(perTransaction)], valueOf);
  }
  if (action === "delete") await deleteAll(endpoint!);
  console.log(JSON.stringify({ began, ended: Date.now() } satisfies FillTimes));
}
