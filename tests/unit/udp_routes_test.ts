import assert from "node:assert/strict";
import { RoutesWriter } from "../../backends/udp/control/routes_writer.ts";
import { socketAddress } from "../../backends/udp/shared/socket_address.ts";
import * as layout from "../../backends/udp/shared/routes_layout.ts";
import { GENERATION, routesShape } from "../../backends/udp/shared/routes_layout.ts";
import { type FamilyRoutes, NO_PEER } from "../../backends/udp/worker/family_routes.ts";
import { RoutesReader } from "../../backends/udp/worker/routes_reader.ts";
import { FAMILIES, type Family, IPV4, IPV6 } from "../../lib/net/family.ts";
import { type Ip, ipToBytes, parseIp } from "../../lib/net/ip.ts";
import { firstIp, parsePrefix, prefixOf } from "../../lib/net/prefix.ts";
import { PacketMemory } from "../../lib/packet/memory.ts";
import { randomSource } from "../../scripts/lab/random.ts";
import { type FakePeer, routeOf } from "./udp_fake_io.ts";

/** Addresses of subnet `n` of each family, and of the outer host `n`. */
interface Plan {
  readonly family: Family;
  inner(n: number, host: number): Ip;
  outer(n: number): Ip;
  subnet(n: number, length?: number): string;
}

const PLANS: readonly Plan[] = [{
  family: IPV4,
  inner: (n, host) => ({ family: IPV4, value: BigInt(0x0a050000 + n * 256 + host) }),
  outer: (n) => ({ family: IPV4, value: BigInt(0xac1e0000 + n) }),
  subnet: (n, length = 24) => `10.5.${n}.0/${length}`,
}, {
  family: IPV6,
  inner: (n, host) => ({ family: IPV6, value: (0xfc00n << 112n) + (BigInt(n) << 64n) + BigInt(host) }),
  outer: (n) => ({ family: IPV6, value: (0xfd30n << 112n) + BigInt(n) }),
  subnet: (n, length = 64) => `fc00:0:0:${n.toString(16)}::/${length}`,
}];

const text = (ip: Ip): string => ip.family === IPV4 ? [...ipToBytes(ip)].join(".") : hex(ip);
const hex = (ip: Ip): string => ip.value.toString(16).padStart(32, "0").replace(/(.{4})(?!$)/g, "$1:");

/** Writer, reader, and what the tests ask in one family. */
class Tables {
  readonly packets = new PacketMemory(new ArrayBuffer(256));
  readonly shape;
  readonly writer;
  readonly reader;
  readonly table: FamilyRoutes;

  constructor(readonly plan: Plan, peers = 64, families: readonly Family[] = [plan.family]) {
    this.shape = routesShape(families, peers);
    const own = Object.fromEntries(
      PLANS.filter(({ family }) => families.includes(family)).map((one) => {
        const subnet = parsePrefix(one.subnet(1));
        return [one.family.name, { subnet, address: firstIp(subnet) }];
      }),
    );
    this.writer = new RoutesWriter(this.shape, own);
    this.reader = this.readerOf(0);
    this.table = this.reader.tables[plan.family.name]!;
  }

  readerOf(worker: number): RoutesReader {
    const words = new Int32Array(this.writer.memory);
    return new RoutesReader({ words, base: 0, shape: this.shape }, worker, this.packets);
  }

  peer(n: number, change: Partial<FakePeer> = {}): FakePeer {
    return { subnet: this.plan.subnet(n), address: text(this.plan.outer(n)), port: 8285, ...change };
  }

  set(key: string, peer: FakePeer | undefined): boolean {
    return this.writer.set(key, peer ? routeOf(peer) : {});
  }

  /** Shows everything to the reader. */
  show(): void {
    this.reader.leave();
    assert.equal(this.writer.publish(), true);
    this.reader.enter();
  }

  peerOf(ip: Ip): number {
    // Addresses in packets stand at any place.
    this.packets.u8.set(ipToBytes(ip), 13);
    return this.table.peerOf(13);
  }

  isOwn(ip: Ip): boolean {
    this.packets.u8.set(ipToBytes(ip), 13);
    return this.table.isOwn(13);
  }

  /** Puts a sender's address where the kernel would. */
  #name(ip: Ip, port: number): number {
    this.packets.u8.set(socketAddress(ip, port, 0), 128);
    return 128;
  }

  isSender(ip: Ip, port: number): boolean {
    return this.table.isSender(this.#name(ip, port));
  }

  /** Whether the peer in a slot is this sender: its address, and its port. */
  matches(slot: number, ip: Ip, port: number): [boolean, boolean] {
    const name = this.#name(ip, port);
    return [this.table.hasAddress(slot, name), this.table.hasPort(slot, name)];
  }
}

function tableTest(name: string, body: (plan: Plan) => void): void {
  for (const plan of PLANS) Deno.test(`${plan.family.label}: ${name}`, () => body(plan));
}

tableTest("a peer is found by every address of its subnet, and by no other", (plan) => {
  const tables = new Tables(plan);
  tables.set("a", tables.peer(7));
  tables.show();
  for (const host of [0, 1, 255]) {
    const peer = tables.peerOf(plan.inner(7, host));
    assert.notEqual(peer, NO_PEER);
    assert.deepEqual(tables.matches(peer, plan.outer(7), 8285), [true, true]);
    assert.deepEqual(tables.matches(peer, plan.outer(8), 8286), [false, false]);
    assert.deepEqual(tables.matches(peer, plan.outer(7), 8286), [true, false]);
  }
  for (const n of [6, 8]) assert.equal(tables.peerOf(plan.inner(n, 255)), NO_PEER);
  assert.equal(tables.peerOf({ family: plan.family, value: 0n }), NO_PEER);
});

tableTest("the sockaddr of a peer is what the kernel gets", (plan) => {
  const tables = new Tables(plan);
  tables.set("a", tables.peer(7));
  tables.show();
  const at = tables.table.nameOf(tables.peerOf(plan.inner(7, 1)));
  const name = socketAddress(plan.outer(7), 8285, 0);
  assert.deepEqual(new Uint8Array(tables.writer.memory).slice(at, at + name.length), name);
});

tableTest("the own subnet and the tunnel's own address", (plan) => {
  const tables = new Tables(plan);
  tables.reader.enter();
  assert.equal(tables.isOwn(plan.inner(1, 2)), true);
  assert.equal(tables.isOwn(plan.inner(2, 2)), false);
  const view = new DataView(ipToBytes(plan.inner(1, 0)).buffer);
  assert.deepEqual([...tables.table.own], Array.from(tables.table.own, (_, i) => view.getInt32(i * 4)));
});

tableTest("the longest prefix wins, and the shorter one is there again once it is gone", (plan) => {
  const tables = new Tables(plan);
  const wide = prefixOf(plan.inner(0x20, 0), plan.family === IPV4 ? 16 : 48);
  tables.set("wide", tables.peer(2, { subnet: `${text(firstIp(wide))}/${wide.length}` }));
  tables.set("narrow", tables.peer(3, { subnet: plan.subnet(3) }));
  tables.show();
  const address = (n: number) => tables.matches(tables.peerOf(plan.inner(n, 1)), plan.outer(3), 8285)[0];
  assert.equal(address(3), true);
  assert.equal(address(4), false);
  tables.set("narrow", undefined);
  tables.show();
  assert.notEqual(tables.peerOf(plan.inner(3, 1)), NO_PEER);
  assert.equal(address(3), false);
});

tableTest("senders are distinguished by port, and shared by peers behind one address and port", (plan) => {
  const tables = new Tables(plan);
  const address = text(plan.outer(5));
  tables.set("a", tables.peer(1, { address, port: 8285 }));
  tables.set("b", tables.peer(2, { address, port: 8286 }));
  tables.set("c", tables.peer(3, { address, port: 8286 }));
  tables.show();
  const known = [8284, 8285, 8286].map((port) => tables.isSender(plan.outer(5), port));
  assert.deepEqual(known, [false, true, true]);
  assert.equal(tables.isSender(plan.outer(6), 8285), false);
  tables.set("b", undefined);
  tables.show();
  assert.equal(tables.isSender(plan.outer(5), 8286), true, "c still has it");
});

tableTest("a copy that a worker reads is not written to", (plan) => {
  const tables = new Tables(plan);
  const { reader, writer } = tables;
  const isThere = (n: number) => tables.peerOf(plan.inner(n, 1)) !== NO_PEER;
  reader.enter();
  tables.set("a", tables.peer(2));
  assert.equal(writer.publish(), true, "the other copy is free");
  tables.set("b", tables.peer(3));
  assert.equal(writer.publish(), false, "the worker still reads this one");
  assert.equal(writer.pending, true);
  assert.equal(isThere(2), false, "until it enters anew, nothing changes for it");
  reader.enter();
  assert.equal(isThere(2), true);
  assert.equal(writer.publish(), true);
  reader.enter();
  assert.equal(isThere(3), true);
  // A worker that died holds on to nothing.
  tables.readerOf(3).enter();
  tables.set("c", tables.peer(4));
  assert.equal(writer.publish(), true);
  reader.enter();
  tables.set("d", tables.peer(5));
  assert.equal(writer.publish(), false);
  writer.releaseWorker(3);
  assert.equal(writer.publish(), true);
});

tableTest("a sleeping worker holds nothing back", (plan) => {
  const tables = new Tables(plan);
  tables.reader.enter();
  tables.reader.leave();
  for (let n = 2; n < 12; n++) {
    tables.set(`${n}`, tables.peer(n));
    assert.equal(tables.writer.publish(), true);
  }
  tables.reader.enter();
  for (let n = 2; n < 12; n++) assert.notEqual(tables.peerOf(plan.inner(n, 1)), NO_PEER);
});

tableTest("what was looked up before a change is looked up again after it", (plan) => {
  const tables = new Tables(plan);
  tables.show();
  assert.equal(tables.peerOf(plan.inner(7, 1)), NO_PEER);
  tables.set("a", tables.peer(7));
  tables.show();
  assert.notEqual(tables.peerOf(plan.inner(7, 1)), NO_PEER);
});

tableTest("the generation outlives its 31 bits", (plan) => {
  const tables = new Tables(plan);
  const words = new Int32Array(tables.writer.memory);
  Atomics.store(words, GENERATION, 0x7fffffff);
  tables.set("a", tables.peer(2));
  assert.equal(tables.writer.publish(), true);
  assert.ok(Atomics.load(words, GENERATION) > 0);
  tables.reader.enter();
  assert.notEqual(tables.peerOf(plan.inner(2, 1)), NO_PEER);
});

Deno.test("the parts of the shared memory don't overlap", () => {
  for (const families of [[IPV4], [IPV6], FAMILIES]) {
    for (const peers of [1, 256, 65536]) {
      const shape = routesShape(families, peers);
      assert.ok(shape.capacity >= peers && shape.hashSize >= 2 * shape.capacity);
      let end = layout.CONTROL_WORDS;
      for (const copy of [0, 1]) {
        const places = layout.placesOf(shape, copy);
        for (const family of families) {
          const { header, slots, subnets, senders } = places[family.name]!;
          const format = layout.tableFormat(family);
          assert.equal(header, end);
          assert.ok(format.lengths + family.bits + 1 <= format.ownBase);
          assert.ok(format.ownAddress + format.addressWords <= format.headerWords);
          assert.equal(header + format.headerWords, slots);
          assert.equal(slots + shape.capacity * format.slot.words, subnets);
          assert.equal(subnets + shape.hashSize, senders);
          end = senders + shape.hashSize;
        }
      }
      assert.equal(end * 4, layout.routesBytes(shape));
    }
  }
});

tableTest("a full table says so and keeps what it has", (plan) => {
  const tables = new Tables(plan, 16);
  const { capacity } = tables.shape;
  for (let n = 0; n < capacity; n++) assert.equal(tables.set(`${n}`, tables.peer(n)), true);
  assert.equal(tables.set("more", tables.peer(200)), false);
  assert.equal(tables.set("more", tables.peer(200)), false);
  assert.equal(tables.writer.size, capacity);
  tables.show();
  for (let n = 0; n < capacity; n++) assert.notEqual(tables.peerOf(plan.inner(n, 1)), NO_PEER);
  tables.set("3", undefined);
  assert.equal(tables.set("more", tables.peer(200)), true);
});

Deno.test("each family has a table of its own, and a peer counts once", () => {
  const [four, six] = PLANS as [Plan, Plan];
  const tables = new Tables(six, 64, FAMILIES);
  const in4 = new Tables(four).peer(7);
  tables.writer.set("a", { ...routeOf(in4), ...routeOf(tables.peer(7)) });
  tables.writer.set("b", routeOf(in4));
  assert.equal(tables.writer.size, 2);
  tables.show();
  assert.notEqual(tables.peerOf(six.inner(7, 1)), NO_PEER);
  tables.packets.u8.set(ipToBytes(four.inner(7, 1)), 40);
  assert.notEqual(tables.reader.tables.ipv4!.peerOf(40), NO_PEER);
  tables.writer.set("a", routeOf(in4));
  tables.show();
  assert.equal(tables.peerOf(six.inner(7, 1)), NO_PEER, "its IPv6 half went");
  assert.equal(tables.writer.size, 2);
  assert.equal(parseIp(hex(six.outer(1))).value, six.outer(1).value);
});

tableTest("after any sequence of changes the table equals a plain map", (plan) => {
  const random = randomSource(31);
  const tables = new Tables(plan, 300);
  const { writer, reader } = tables;
  const model = new Map<string, { outer: number; port: number }>();
  for (let step = 0; step < 3000; step++) {
    const n = random.below(250);
    const outer = random.below(40), port = 8285 + random.below(2);
    const subnet = plan.subnet(n, (plan.family === IPV4 ? 24 : 64) + random.below(3));
    const isGone = random.below(3) === 0;
    tables.set(`${n}`, isGone ? undefined : { subnet, address: text(plan.outer(outer)), port });
    if (isGone) model.delete(`${n}`);
    else model.set(`${n}`, { outer, port });
    if (random.below(4) !== 0) continue;
    if (random.below(2) === 0) reader.leave();
    writer.publish();
    reader.enter();
    if (writer.pending) continue;
    for (let probe = 0; probe < 20; probe++) {
      const m = random.below(250);
      const wanted = model.get(`${m}`);
      const slot = tables.peerOf(plan.inner(m, 1));
      assert.equal(slot === NO_PEER, wanted === undefined, `step ${step}, peer ${m}`);
      if (wanted) {
        assert.deepEqual(tables.matches(slot, plan.outer(wanted.outer), wanted.port), [true, true]);
      }
      const address = random.below(40), probed = 8285 + random.below(2);
      const known = [...model.values()].some((one) => one.outer === address && one.port === probed);
      assert.equal(tables.isSender(plan.outer(address), probed), known);
    }
  }
});
