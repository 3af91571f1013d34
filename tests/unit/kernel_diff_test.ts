import assert from "node:assert/strict";
import { DesiredEntries } from "../../lib/kernel/desired_entries.ts";
import type { Entry, FdbEntry, RouteEntry } from "../../lib/kernel/entries.ts";
import { mayBeInTheWay } from "../../lib/kernel/operation_requests.ts";
import { diffEntries } from "../../lib/kernel/diff.ts";
import { EntryTable } from "../../lib/kernel/entry_table.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";

const fdb = (remote: string): FdbEntry => ({
  kind: "fdb",
  link: "flannel.1",
  mac: "02:00:00:00:00:01",
  remote: parseIp(remote),
});
const route = (destination: string, gateway: string, metric?: number): RouteEntry => ({
  kind: "route",
  link: "flannel.1",
  destination: parsePrefix(destination),
  gateway: parseIp(gateway),
  onlink: true,
  ...(metric === undefined ? {} : { metric }),
});

function plan(wanted: Entry, actual: readonly Entry[]): string[] {
  const desired = new DesiredEntries();
  desired.set("peer", [wanted], new EntryTable());
  const operations = [...diffEntries(desired, actual.map((entry) => ({ entry })))];
  return operations.map((operation) => {
    const entry = operation.verb === "set" ? operation.entry : operation.actual.entry;
    return `${operation.verb} ${actual.indexOf(entry)}`;
  });
}

Deno.test("two wrong destinations of a MAC: one is replaced, the other one removed", () => {
  assert.deepEqual(plan(fdb("192.0.2.1"), [fdb("192.0.2.8"), fdb("192.0.2.9")]), ["set -1", "remove 1"]);
});

Deno.test("a route with a metric of its own isn't ours as it is to be: ours comes, it goes", () => {
  const wanted = route("10.5.1.0/24", "10.5.1.0");
  const withMetric = route("10.5.1.0/24", "10.5.1.0", 7);
  assert.deepEqual(plan(wanted, [withMetric]), ["remove 0", "set -1"]);
  assert.deepEqual(plan(wanted, [withMetric, wanted]), ["remove 0"]);
  assert.deepEqual(plan(wanted, [withMetric, route("10.5.1.0/24", "10.5.1.9")]), ["remove 0", "set -1"]);
});

Deno.test("a route may be refused for another one: one that exists, or one that an onlink IPv6 gateway meets", () => {
  const ipv6 = route("fc00:0:0:1::/64", "fc00:0:0:1::");
  const isSuspect = (entry: Entry, code: string): boolean => mayBeInTheWay(entry, code);
  assert.equal(isSuspect(ipv6, "EINVAL"), true);
  assert.equal(isSuspect(ipv6, "ENETUNREACH"), false);
  assert.equal(isSuspect({ ...ipv6, onlink: false }, "EINVAL"), false);
  assert.equal(isSuspect(route("10.5.1.0/24", "10.5.1.0"), "EINVAL"), false);
  assert.equal(isSuspect(route("10.5.1.0/24", "10.5.1.0"), "EEXIST"), true);
  assert.equal(isSuspect(fdb("192.0.2.1"), "EEXIST"), false);
});
