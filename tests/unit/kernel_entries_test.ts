import assert from "node:assert/strict";
import { DesiredEntries, type EntryChanges } from "../../lib/kernel/desired_entries.ts";
import { describeEntry, type Entry, sameEntry, sameIdentity } from "../../lib/kernel/entries.ts";
import { EntryTable } from "../../lib/kernel/entry_table.ts";
import { type ActualEntry, diffEntries, entryOf, inOrder, type Operation } from "../../lib/kernel/diff.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { randomSource } from "../../scripts/lab/random.ts";

const LINK = "flannel.1";
const neighbour = (ip: string, mac: string): Entry => ({
  kind: "neighbour",
  link: LINK,
  ip: parseIp(ip),
  mac,
});
const fdb = (mac: string, remote: string): Entry => ({
  kind: "fdb",
  link: LINK,
  mac,
  remote: parseIp(remote),
});
const route = (destination: string, gateway: string, link = LINK): Entry => ({
  kind: "route",
  link,
  destination: parsePrefix(destination),
  gateway: parseIp(gateway),
  onlink: link === LINK,
});
const MAC = "02:00:00:00:00:01";

Deno.test("a change of one owner reports just the keys that changed, with what was there", () => {
  const desired = new DesiredEntries();
  const changes: EntryChanges = new EntryTable();
  desired.set("a", [neighbour("10.5.1.0", MAC), route("10.5.1.0/24", "10.5.1.0")], changes);
  const both = [neighbour("10.5.1.0", MAC), route("10.5.1.0/24", "10.5.1.0")];
  assert.deepEqual([...changes.values()], both.map((identity) => ({ identity, before: undefined })));
  changes.clear();
  desired.set("a", [neighbour("10.5.1.0", MAC), route("10.5.1.0/24", "192.0.2.1", "eth0")], changes);
  const identity = route("10.5.1.0/24", "192.0.2.1", "eth0");
  assert.deepEqual([...changes.values()], [{ identity, before: route("10.5.1.0/24", "10.5.1.0") }]);
});

Deno.test("what changes and changes back within one collection still remembers what the kernel has", () => {
  const desired = new DesiredEntries();
  desired.set("a", [fdb(MAC, "192.0.2.1")], new EntryTable());
  const changes: EntryChanges = new EntryTable();
  desired.set("a", [fdb(MAC, "192.0.2.2")], changes);
  desired.set("a", [], changes);
  assert.deepEqual([...changes.values()].map(({ before }) => before), [fdb(MAC, "192.0.2.1")]);
  assert.equal(desired.size, 0);
});

Deno.test("an old lease of a host that moved to a new subnet goes without taking the shared VTEP MAC along", () => {
  const desired = new DesiredEntries();
  desired.set("old", [fdb(MAC, "192.0.2.1"), route("10.5.1.0/24", "10.5.1.0")], new EntryTable());
  desired.set("new", [fdb(MAC, "192.0.2.1"), route("10.5.2.0/24", "10.5.2.0")], new EntryTable());
  const changes: EntryChanges = new EntryTable();
  desired.set("old", [], changes);
  assert.deepEqual([...changes.values()].map(({ before }) => before), [route("10.5.1.0/24", "10.5.1.0")]);
  assert.deepEqual(desired.get(fdb(MAC, "192.0.2.9")), fdb(MAC, "192.0.2.1"));
});

Deno.test("the newest claim holds, and the older one again when it goes", () => {
  const desired = new DesiredEntries();
  desired.set("a", [fdb(MAC, "192.0.2.1")], new EntryTable());
  desired.set("b", [fdb(MAC, "192.0.2.2")], new EntryTable());
  assert.deepEqual(desired.get(fdb(MAC, "192.0.2.9")), fdb(MAC, "192.0.2.2"));
  const changes: EntryChanges = new EntryTable();
  desired.set("b", [], changes);
  assert.deepEqual([...changes.values()].map(({ before }) => before), [fdb(MAC, "192.0.2.2")]);
  assert.deepEqual(desired.get(fdb(MAC, "192.0.2.9")), fdb(MAC, "192.0.2.1"));
});

Deno.test("after any series of claims the desired set is the newest claims of those who still claim", () => {
  const { below } = randomSource(7);
  const owners = ["a", "b", "c", "d"];
  for (let round = 0; round < 200; round++) {
    const desired = new DesiredEntries();
    /** The obvious model: per MAC, claims in the order in which they were last changed. */
    const model = new Map<string, { owner: string; entry: Entry }[]>();
    /** What a kernel would have that carries out the changes. */
    const kernel = new Map<string, Entry>();
    for (let step = 0; step < 30; step++) {
      const owner = owners[below(owners.length)]!;
      const entries = [0, 1, 2].filter(() => below(2)).map((n) =>
        fdb(`02:00:00:00:00:0${n}`, `192.0.2.${1 + below(3)}`)
      );
      const changes: EntryChanges = new EntryTable();
      desired.set(owner, entries, changes);
      for (const key of new Set([...model.keys(), ...entries.map(macOf)])) {
        const claims = model.get(key) ?? [];
        const wanted = entries.find((entry) => macOf(entry) === key);
        const held = claims.findIndex((claim) => claim.owner === owner);
        if (held >= 0 && (!wanted || !sameEntry(claims[held]!.entry, wanted))) claims.splice(held, 1);
        if (wanted && !claims.some((claim) => claim.owner === owner)) claims.push({ owner, entry: wanted });
        model.set(key, claims);
      }
      for (const { identity } of changes.values()) {
        const entry = desired.get(identity);
        if (entry) kernel.set(macOf(identity), entry);
        else kernel.delete(macOf(identity));
      }
    }
    const expected = [...model].flatMap(([key, claims]) =>
      claims.length ? [[key, claims.at(-1)!.entry] as const] : []
    );
    const byKey = (a: readonly [string, Entry], b: readonly [string, Entry]) => a[0].localeCompare(b[0]);
    const actual = Array.from(desired.values(), (entry) => [macOf(entry), entry] as const);
    assert.deepEqual(actual.sort(byKey), expected.sort(byKey));
    assert.deepEqual([...kernel].sort(byKey), expected.sort(byKey));
    assert.equal(desired.size, expected.length);
  }
});

function macOf(entry: Entry): string {
  return entry.kind === "fdb" ? entry.mac : "";
}

Deno.test("a table distinguishes entries by what they are to the kernel, in both families", () => {
  const { below } = randomSource(11);
  const addresses = ["10.5.1.0", "10.5.2.0", "200.5.1.0", "fc00:0:0:1::", "fc00:0:0:2::", "fc00:0:1:1::"];
  const some = (): Entry => {
    const address = addresses[below(addresses.length)]!;
    const lengths = address.includes(":") ? [64, 80] : [24, 25];
    const destination = parsePrefix(`${address}/${lengths[below(2)]}`);
    const link = ["flannel.1", "eth0"][below(2)]!;
    switch (below(4)) {
      case 0:
        return { ...neighbour(address, MAC), link } as Entry;
      case 1:
        return { ...fdb(`02:00:00:00:00:0${below(3)}`, "192.0.2.1"), link } as Entry;
      case 2:
        return { kind: "blackhole", destination };
      default:
        return { kind: "route", link, destination, onlink: false };
    }
  };
  const table = new EntryTable<number>();
  let model: [Entry, number][] = [];
  for (let step = 0; step < 2_000; step++) {
    const entry = some();
    const held = model.find(([each]) => sameIdentity(each, entry));
    assert.equal(table.get(entry), held?.[1]);
    assert.equal(table.has(entry), held !== undefined);
    model = model.filter((each) => each !== held);
    if (below(3) === 0) assert.equal(table.delete(entry), held !== undefined);
    else {
      table.set(entry, step);
      model.push([entry, step]);
    }
    assert.equal(table.size, model.length);
  }
  assert.deepEqual([...table.values()].sort(), model.map(([, value]) => value).sort());
});

function actualOf(...found: ActualEntry[]): ActualEntry[] {
  return found;
}

function desiredOf(...entries: Entry[]): DesiredEntries {
  const desired = new DesiredEntries();
  desired.set("peer", entries, new EntryTable());
  return desired;
}

Deno.test("a pass over a kernel that is right does nothing", () => {
  const entries = [neighbour("10.5.1.0", MAC), fdb(MAC, "192.0.2.1"), route("10.5.1.0/24", "10.5.1.0")];
  const actual = actualOf(...entries.map((entry) => ({ entry })));
  assert.deepEqual([...diffEntries(desiredOf(...entries), actual)], []);
});

Deno.test("a pass sets what is missing or different and removes what is ours and stale, routes around the rest", () => {
  const desired = desiredOf(
    route("10.5.1.0/24", "10.5.1.0"),
    neighbour("10.5.1.0", MAC),
    fdb(MAC, "192.0.2.1"),
  );
  const stale = { entry: route("10.5.9.0/24", "10.5.9.0"), metric: 0 };
  const staleNeighbour = { entry: neighbour("10.5.9.0", MAC) };
  const other = { entry: fdb(MAC, "192.0.2.9") };
  const operations = [...diffEntries(desired, actualOf(stale, staleNeighbour, other))];
  assert.deepEqual(operations.map((operation) => `${operation.verb} ${describeEntry(entryOf(operation))}`), [
    "remove route 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink",
    `set neighbour 10.5.1.0 lladdr ${MAC} dev flannel.1`,
    `set fdb ${MAC} dst 192.0.2.1 dev flannel.1`,
    "set route 10.5.1.0/24 via 10.5.1.0 dev flannel.1 onlink",
    `remove neighbour 10.5.9.0 lladdr ${MAC} dev flannel.1`,
  ]);
});

Deno.test("a second route to a destination goes, the right one stays", () => {
  const right = { entry: route("10.5.1.0/24", "10.5.1.0"), metric: 0 };
  const second = { entry: route("10.5.1.0/24", "10.5.1.1"), metric: 5 };
  const operations = [...diffEntries(desiredOf(right.entry), actualOf(second, right))];
  assert.deepEqual(operations, [{ verb: "remove", actual: second }]);
});

Deno.test("order: routes go first and come last but for the removal of what they used", () => {
  const set = (entry: Entry): Operation => ({ verb: "set", entry, replaces: false });
  const remove = (entry: Entry): Operation => ({
    verb: "remove",
    actual: { entry },
  });
  const blackhole: Entry = { kind: "blackhole", destination: parsePrefix("10.5.3.0/24") };
  const mixed = [
    remove(fdb(MAC, "192.0.2.1")),
    set(route("10.5.1.0/24", "10.5.1.0")),
    set(fdb(MAC, "192.0.2.2")),
    remove(blackhole),
    remove(route("10.5.2.0/24", "10.5.2.0")),
  ];
  assert.deepEqual(inOrder(mixed), [mixed[3], mixed[4], mixed[2], mixed[1], mixed[0]]);
});

Deno.test("entries are described as ip and bridge show them", () => {
  assert.equal(
    describeEntry(route("10.5.1.0/24", "10.5.1.0")),
    "route 10.5.1.0/24 via 10.5.1.0 dev flannel.1 onlink",
  );
  assert.equal(describeEntry(fdb(MAC, "192.0.2.1")), `fdb ${MAC} dst 192.0.2.1 dev flannel.1`);
  assert.equal(describeEntry(neighbour("10.5.1.0", MAC)), `neighbour 10.5.1.0 lladdr ${MAC} dev flannel.1`);
});
