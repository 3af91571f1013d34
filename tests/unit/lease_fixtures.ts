/**
 * What the lease tests share: a clock that is moved by hand, a store on a temporary file, hosts.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { FamilyConfig } from "../../lib/config/types.ts";
import type { Clock } from "../../lib/time/clock.ts";
import type { PeerSet } from "../../lib/leases/peer_set.ts";
import { RecordFeed } from "../../lib/leases/record_feed.ts";
import type { SqliteStore } from "../../lib/leases/sqlite/store.ts";
import { openSqliteStore } from "../../lib/leases/sqlite_store.ts";
import type { Lease, LeaseAttributes, LeaseStore } from "../../lib/leases/types.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import type { Log, LogFields } from "../../lib/observe/types.ts";
import { randomSource } from "../../scripts/lab/random.ts";

/** A clock that stands still until it is moved. */
export class FakeClock implements Clock {
  #now = 1_000_000;
  #sleepers: { at: number; wake: () => void }[] = [];
  /** Every sleep that was asked for, in ms. */
  readonly sleeps: number[] = [];

  now = () => this.#now;
  date = () => this.#now;
  random = () => 0.5;

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.sleeps.push(ms);
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const sleeper = { at: this.#now + ms, wake: resolve };
      this.#sleepers.push(sleeper);
      signal?.addEventListener("abort", () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        resolve();
      }, { once: true });
    });
  }

  /** Moves on, wakes whose time has come, and lets them run. */
  async advance(ms: number): Promise<void> {
    for (const end = this.#now + ms;;) {
      await settle();
      const next = this.#sleepers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) {
        this.#now = end;
        return;
      }
      this.#now = Math.max(this.#now, next.at);
      this.#sleepers = this.#sleepers.filter((other) => other !== next);
      next.wake();
      await settle();
    }
  }
}

/** Lets everything run that waits for nothing but its turn. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A log that keeps its lines. */
export class RecordedLog implements Log {
  readonly lines: { level: keyof Log; message: string; fields: LogFields }[] = [];
  debug = (message: string, fields: LogFields = {}) =>
    void this.lines.push({ level: "debug", message, fields });
  info = (message: string, fields: LogFields = {}) =>
    void this.lines.push({ level: "info", message, fields });
  warn = (message: string, fields: LogFields = {}) =>
    void this.lines.push({ level: "warn", message, fields });
  error = (message: string, fields: LogFields = {}) =>
    void this.lines.push({ level: "error", message, fields });

  /** Lines of a level, as text. */
  of(level: keyof Log): string[] {
    return this.lines.filter((line) => line.level === level)
      .map(({ message, fields }) => `${message} ${JSON.stringify(fields)}`);
  }
}

/** Runs with a real store on a temporary file; `clock` is its time of day too. */
export async function withStore(clock: Clock, run: (store: SqliteStore) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-lease-" });
  try {
    await using store = await openSqliteStore(`${folder}/store.db`, () => clock.now());
    await run(store);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** One peer's change. */
export interface PeerChange {
  readonly kind: "added" | "changed" | "removed";
  readonly key: string;
  readonly before: Lease | undefined;
  readonly after: Lease | undefined;
}

/** Applies what a store of records lists and reports, and says what the peers' listeners get of it. */
export function recorded(peers: PeerSet, own?: string) {
  const feed = new RecordFeed(peers, own);
  let changes: PeerChange[] = [];
  let known: ReadonlyMap<string, Lease> = new Map();
  peers.subscribe((changed) => {
    changes = Array.from(changed, ([key, after]): PeerChange => {
      const before = known.get(key);
      return { kind: after ? (before ? "changed" : "added") : "removed", key, before, after };
    });
  });
  const applied = (apply: () => void): PeerChange[] => {
    changes = [];
    known = new Map(peers.peers);
    apply();
    return changes;
  };
  return {
    list: (snapshot: Parameters<RecordFeed["list"]>[0]) => applied(() => feed.list(snapshot)),
    change: (batch: Parameters<RecordFeed["change"]>[0]) => applied(() => feed.change(batch)),
  };
}

/** The store, with some methods replaced: failures at chosen points. */
export function scripted(store: LeaseStore, methods: Partial<LeaseStore>): LeaseStore {
  return new Proxy(store, {
    get(target, name) {
      const replaced = methods[name as keyof LeaseStore];
      if (replaced !== undefined) return replaced;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** 10.5.0.0/16 with 255 subnets. */
export const CONFIG4: FamilyConfig = {
  family: IPV4,
  network: parsePrefix("10.5.0.0/16"),
  subnetLength: 24,
  subnetMin: parseIp("10.5.1.0"),
  subnetMax: parseIp("10.5.255.0"),
};

/** fc00::/48 with 65535 subnets. */
export const CONFIG6: FamilyConfig = {
  family: IPV6,
  network: parsePrefix("fc00::/48"),
  subnetLength: 64,
  subnetMin: parseIp("fc00:0:0:1::"),
  subnetMax: parseIp("fc00:0:0:ffff::"),
};

/** A config of `count` IPv4 subnets. */
export function smallConfig(count: number): FamilyConfig {
  return { ...CONFIG4, subnetMax: parseIp(`10.5.${count}.0`) };
}

/** What the host at `ip` publishes with vxlan. */
export function host(ip: string, mac = "3e:4b:bc:75:ce:43"): LeaseAttributes {
  return {
    publicIps: { ipv4: parseIp(ip) },
    backendType: "vxlan",
    backendData: { ipv4: { VNI: 1, VtepMAC: mac } },
  };
}

/** Repeatable numbers below a bound. */
export function seeded(seed: number): (below: bigint) => bigint {
  const random = randomSource(seed);
  return (below) => random.bits(160) % below;
}
