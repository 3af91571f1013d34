/** Which leases a host that leaves gives back. */
import assert from "node:assert/strict";
import type { LeavingHost } from "../../lib/leases/contract.ts";
import { findOwnLeases } from "../../lib/leases/own_leases.ts";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import type { LeaseAttributes } from "../../lib/leases/types.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { host } from "./lease_fixtures.ts";

const OURS = host("172.30.0.2", "aa:aa:aa:aa:aa:aa");
const THEIRS = host("172.30.0.9", "bb:bb:bb:bb:bb:bb");
const ADDRESSES = { ipv4: parseIp("172.30.0.2") };

function leaving(change: Partial<LeavingHost> = {}): LeavingHost {
  return { attributes: OURS, evidence: {}, addresses: ADDRESSES, allAddresses: [ADDRESSES.ipv4], ...change };
}

function find(leases: Record<string, LeaseAttributes | string>, leavingHost: LeavingHost) {
  const doubtful: string[] = [];
  const stored = Object.entries(leases).map(([key, attributes]) => ({
    ...{ key, revision: 1n, createRevision: 1n, expires: true },
    value: typeof attributes === "string" ? attributes : encodeLeaseValue(attributes),
  }));
  const found = findOwnLeases({ revision: 1n, leases: stored }, leavingHost, ({ key }) => doubtful.push(key));
  return { keys: found.map(({ stored }) => stored.key), doubtful };
}

Deno.test("a reboot took the subnet file: the lease is found by the MAC that this machine comes to again", () => {
  const moved = { ...OURS, publicIps: { ipv4: parseIp("172.30.0.77") } };
  const { keys } = find(
    { "10.5.1.0-24": moved, "10.5.2.0-24": THEIRS, junk: "junk" },
    leaving({
      attributes: {
        ...OURS,
      },
      evidence: { macs: ["aa:aa:aa:aa:aa:aa"] },
    }),
  );
  assert.deepEqual(keys, ["10.5.1.0-24"]);
});

Deno.test("without a MAC it is found by the address of this host's interface", () => {
  const plain = { publicIps: ADDRESSES, backendData: {} };
  const { keys, doubtful } = find(
    { "10.5.1.0-24": plain, "10.5.2.0-24": THEIRS },
    leaving({ attributes: plain }),
  );
  assert.deepEqual(keys, ["10.5.1.0-24"]);
  assert.deepEqual(doubtful, []);
});

Deno.test("a lease with this host's -public-ip alone may be another host's: it is named and kept", () => {
  const publicIps = { ipv4: parseIp("203.0.113.7") };
  const other = { ...THEIRS, publicIps };
  const { keys, doubtful } = find({ "10.5.1.0-24": other }, leaving({ attributes: { ...OURS, publicIps } }));
  assert.deepEqual([keys, doubtful], [[], ["10.5.1.0-24"]]);
});

Deno.test("the subnet file's lease goes where it has an address of this host, and stays with another one", () => {
  const evidence = { subnets: { ipv4: parsePrefix("10.5.1.0/24") } };
  const attributes = host("203.0.113.7", "cc:cc:cc:cc:cc:cc");
  const mine = leaving({
    attributes,
    evidence,
    allAddresses: [parseIp("172.30.0.9"), parseIp("203.0.113.7")],
  });
  assert.deepEqual(find({ "10.5.1.0-24": THEIRS }, mine).keys, ["10.5.1.0-24"]);
  assert.deepEqual(find({ "10.5.2.0-24": THEIRS }, mine).keys, []);
  assert.deepEqual(find({ "10.5.1.0-24": THEIRS }, leaving({ evidence })).keys, []);
});
