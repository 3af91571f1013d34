/**
 * What the tests of the etcd store share: a store on an endpoint, leases to put, a sync that runs.
 *
 * @module
 */
import assert from "node:assert/strict";
import { systemClock } from "../../lib/time/clock.ts";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import type { EtcdStore } from "../../lib/leases/etcd/store.ts";
import { openEtcdStore } from "../../lib/leases/etcd_store.ts";
import { PeerSet } from "../../lib/leases/peer_set.ts";
import { RecordFeed } from "../../lib/leases/record_feed.ts";
import { LeaseSync } from "../../lib/leases/sync.ts";
import type { LeaseStore } from "../../lib/leases/types.ts";
import { IPV4 } from "../../lib/net/family.ts";
import { ipOf } from "../../lib/net/ip.ts";
import { hasEtcd } from "../../scripts/lab/etcd.ts";

export const PREFIX = "/coreos.com/network";

/** Registers tests whose names begin with `group`; they are skipped where there is no etcd. */
export function etcdTests(group: string): (name: string, fn: () => Promise<void>) => void {
  // Connections and their timers end a moment after they are closed.
  const lenient = { sanitizeOps: false, sanitizeResources: false };
  return (name, fn) => Deno.test({ name: `${group}: ${name}`, ignore: !hasEtcd(), ...lenient, fn });
}

/** A store on these endpoints. */
export function openAt(...endpoints: string[]): EtcdStore {
  return openEtcdStore({ endpoints, prefix: PREFIX });
}

/** What the host with this number says with vxlan. */
export function value(host: number, mac = "3e:4b:bc:75:ce:43"): string {
  const publicIps = { ipv4: ipOf(IPV4, 0xac1e0000n + BigInt(host)) };
  return encodeLeaseValue({
    publicIps,
    backendType: "vxlan",
    backendData: { ipv4: { VNI: 1, VtepMAC: mac } },
  });
}

/** Waits until `done`. @returns How long it took, in milliseconds. @throws {Error} After `withinMs`. */
export async function until(
  what: string,
  done: () => boolean | Promise<boolean>,
  withinMs: number,
): Promise<number> {
  const began = performance.now();
  while (!await done()) {
    assert.ok(performance.now() - began < withinMs, `${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return performance.now() - began;
}

/** A sync that runs. */
export interface Following extends AsyncDisposable {
  readonly peers: PeerSet;
  readonly sync: LeaseSync;
  /** The config's texts in the order in which they came; undefined: there was none. */
  readonly configs: readonly (string | undefined)[];
}

export function follow(store: LeaseStore): Following {
  const peers = new PeerSet({ networks: [] });
  const configs: (string | undefined)[] = [];
  const onConfig = (config: { text: string } | null) => void configs.push(config?.text);
  const sync = new LeaseSync({ store, records: new RecordFeed(peers), onConfig, clock: systemClock });
  const stop = new AbortController();
  const running = sync.run(undefined, stop.signal);
  return {
    peers,
    sync,
    configs,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
