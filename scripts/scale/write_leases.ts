/**
 * A program that writes peers' leases into etcd by its JSON gateway, and says when each was written.
 *
 *     write_leases.ts ENDPOINT fill COUNT
 *     write_leases.ts ENDPOINT churn COUNT RATE SECONDS
 *
 * `churn` deletes and creates leases of the COUNT ones in turn, RATE changes a second, and prints a line
 * `INDEX put|delete MILLISECONDS` for each: when etcd had answered, since the epoch.
 *
 * @module
 */
import { PREFIX } from "../lab/store.ts";
import { peerKey, peerValue } from "./peers.ts";

/** Seconds; longer than any run. */
const TTL = 86_400;
/** Keys in one of etcd's transactions (its limit is 128). */
const PER_TRANSACTION = 100;
/** Changes are written this often, in milliseconds. */
const BEAT_MS = 20;
/** A lease that goes comes back after so many beats: 2 s. */
const AWAY_BEATS = 100;

async function call(endpoint: string, path: string, body: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(`${endpoint}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(`etcd answered ${response.status} to ${path}: ${text}`);
  return JSON.parse(text);
}

function put(index: number, lease: unknown) {
  const key = btoa(`${PREFIX}/subnets/${peerKey(index)}`);
  return { request_put: { key, value: btoa(peerValue(index)), lease } };
}

function remove(index: number) {
  return { request_delete_range: { key: btoa(`${PREFIX}/subnets/${peerKey(index)}`) } };
}

async function fill(endpoint: string, count: number): Promise<void> {
  const { ID: lease } = await call(endpoint, "lease/grant", { TTL });
  for (let start = 0; start < count; start += PER_TRANSACTION) {
    const size = Math.min(PER_TRANSACTION, count - start);
    const success = Array.from({ length: size }, (_, offset) => put(start + offset, lease));
    await call(endpoint, "kv/txn", { success });
  }
}

/** With each beat some leases go, and those that went {@link AWAY_BEATS} ago come back. */
async function churn(endpoint: string, count: number, rate: number, seconds: number): Promise<void> {
  const { ID: lease } = await call(endpoint, "lease/grant", { TTL });
  const each = Math.max(1, Math.round((rate * BEAT_MS) / 2000));
  const encoder = new TextEncoder();
  const began = performance.now();
  const away: number[][] = [];
  let next = 0;
  for (let beat = 0; performance.now() - began < seconds * 1000; beat++) {
    const going = Array.from({ length: each }, () => next++ % count);
    const gone = away.length < AWAY_BEATS ? [] : away.shift()!;
    const success = [...gone.map((index) => put(index, lease)), ...going.map(remove)];
    await call(endpoint, "kv/txn", { success });
    const now = (performance.timeOrigin + performance.now()).toFixed(1);
    const lines = [
      ...gone.map((index) => `${index} put ${now}`),
      ...going.map((index) => `${index} delete ${now}`),
    ];
    await Deno.stdout.write(encoder.encode(`${lines.join("\n")}\n`));
    away.push(going);
    const rest = began + (beat + 1) * BEAT_MS - performance.now();
    if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest));
  }
}

if (import.meta.main) {
  const [endpoint, action, count, rate, seconds] = Deno.args;
  if (action === "fill") await fill(endpoint!, Number(count));
  else await churn(endpoint!, Number(count), Number(rate), Number(seconds));
}
