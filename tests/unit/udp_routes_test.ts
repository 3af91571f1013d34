import assert from "node:assert/strict";
import * as layout from "../../backends/udp/shared/routes_layout.ts";
import { GENERATION, routesShape } from "../../backends/udp/shared/routes_layout.ts";
import { NO_PEER, RoutesReader } from "../../backends/udp/worker/routes_reader.ts";
import { type PeerRoute, RoutesWriter } from "../../backends/udp/control/routes_writer.ts";
import { randomSource } from "../../scripts/lab/random.ts";

const OWN = { base: 0x0a050100, length: 24, address: 0x0a050100 };

function tables(peers = 64) {
  const shape = routesShape(peers);
  const writer = new RoutesWriter(shape, OWN);
  return { writer, reader: new RoutesReader(writer.memory, shape, 0), shape };
}

const route = (n: number, change: Partial<PeerRoute> = {}): PeerRoute => ({
  base: (0x0a050000 + n * 256) | 0,
  length: 24,
  address: (0xac1e0000 + n) | 0,
  port: 8285,
  ...change,
});

Deno.test("a peer is found by every address of its subnet, and by no other", () => {
  const { writer, reader } = tables();
  writer.set("a", route(7));
  assert.equal(writer.publish(), true);
  reader.enter();
  for (const ip of [0x0a050700, 0x0a050701, 0x0a0507ff]) {
    const peer = reader.peerOf(ip);
    assert.equal(reader.addressOf(peer), 0xac1e0007 | 0);
    assert.equal(reader.portOf(peer), 8285);
  }
  for (const ip of [0x0a0506ff, 0x0a050800, 0]) assert.equal(reader.peerOf(ip), NO_PEER);
});

Deno.test("the own subnet and the tunnel's own address", () => {
  const { writer, reader } = tables();
  reader.enter();
  assert.equal(reader.isOwn(0x0a050102), true);
  assert.equal(reader.isOwn(0x0a050202), false);
  assert.equal(reader.ownAddress, 0x0a050100);
  writer.set("peer", route(0, { base: 0x0a080000, length: 16, address: 1 }));
  assert.equal(writer.publish(), true);
  reader.enter();
  assert.equal(reader.isOwn(0x0a050102), true, "in both copies of the table");
});

Deno.test("the longest prefix wins, and the shorter one is there again once it is gone", () => {
  const { writer, reader } = tables();
  writer.set("wide", route(0, { base: 0x0a080000, length: 16, address: 1 }));
  writer.set("narrow", route(0, { base: 0x0a080300, length: 24, address: 2 }));
  writer.publish();
  reader.enter();
  assert.equal(reader.addressOf(reader.peerOf(0x0a080301)), 2);
  assert.equal(reader.addressOf(reader.peerOf(0x0a080401)), 1);
  writer.set("narrow", undefined);
  reader.leave();
  assert.equal(writer.publish(), true);
  reader.enter();
  assert.equal(reader.addressOf(reader.peerOf(0x0a080301)), 1);
});

Deno.test("senders are told apart by port, and shared by peers behind one address and port", () => {
  const { writer, reader } = tables();
  writer.set("a", route(1, { address: 5, port: 8285 }));
  writer.set("b", route(2, { address: 5, port: 8286 }));
  writer.set("c", route(3, { address: 5, port: 8286 }));
  writer.publish();
  reader.enter();
  assert.deepEqual([8284, 8285, 8286].map((port) => reader.isSender(5, port)), [false, true, true]);
  writer.set("b", undefined);
  reader.leave();
  writer.publish();
  reader.enter();
  assert.equal(reader.isSender(5, 8286), true, "c still has it");
});

Deno.test("a copy that a worker reads is not written to", () => {
  const { writer, reader, shape } = tables();
  reader.enter();
  writer.set("a", route(1));
  assert.equal(writer.publish(), true, "the other copy is free");
  writer.set("b", route(2));
  assert.equal(writer.publish(), false, "the worker still reads this one");
  assert.equal(writer.pending, true);
  assert.equal(reader.peerOf(0x0a050101), NO_PEER, "until it enters anew, nothing changes for it");
  reader.enter();
  assert.notEqual(reader.peerOf(0x0a050101), NO_PEER);
  assert.equal(writer.publish(), true);
  reader.enter();
  assert.notEqual(reader.peerOf(0x0a050201), NO_PEER);
  // A worker that died holds on to nothing.
  const dead = new RoutesReader(writer.memory, shape, 3);
  dead.enter();
  writer.set("c", route(3));
  assert.equal(writer.publish(), true);
  reader.enter();
  writer.set("d", route(4));
  assert.equal(writer.publish(), false);
  writer.releaseWorker(3);
  assert.equal(writer.publish(), true);
});

Deno.test("a sleeping worker holds nothing back", () => {
  const { writer, reader } = tables();
  reader.enter();
  reader.leave();
  for (let n = 0; n < 10; n++) {
    writer.set(`${n}`, route(n));
    assert.equal(writer.publish(), true);
  }
  reader.enter();
  for (let n = 0; n < 10; n++) assert.notEqual(reader.peerOf(0x0a050001 + n * 256), NO_PEER);
});

Deno.test("the generation outlives its 31 bits", () => {
  const { writer, reader } = tables();
  const words = new Int32Array(writer.memory);
  Atomics.store(words, GENERATION, 0x7fffffff);
  writer.set("a", route(1));
  assert.equal(writer.publish(), true);
  assert.ok(Atomics.load(words, GENERATION) > 0);
  reader.enter();
  assert.notEqual(reader.peerOf(0x0a050101), NO_PEER);
});

Deno.test("the parts of the shared memory don't overlap", () => {
  assert.ok(layout.LENGTH_COUNTS + 33 <= layout.LENGTHS_IN_USE);
  assert.ok(layout.LENGTHS_IN_USE < layout.LENGTHS && layout.LENGTHS + 33 <= layout.OWN_BASE);
  assert.ok(layout.OWN_ADDRESS < layout.HEADER_WORDS);
  for (const peers of [1, 256, 65536]) {
    const shape = routesShape(peers);
    assert.ok(shape.capacity >= peers && shape.hashSize >= 2 * shape.capacity);
    const [first, second] = [layout.placesOf(shape, 0), layout.placesOf(shape, 1)];
    assert.equal(first.header, layout.CONTROL_WORDS);
    assert.equal(first.slots + shape.capacity * layout.SLOT.words, first.subnets);
    assert.equal(first.senders + shape.hashSize, second.header);
    assert.equal((second.senders + shape.hashSize) * 4, layout.routesBytes(shape));
  }
});

Deno.test("a full table says so and keeps what it has", () => {
  const { writer, reader, shape } = tables(16);
  for (let n = 0; n < shape.capacity; n++) assert.equal(writer.set(`${n}`, route(n)), true);
  assert.equal(writer.set("more", route(200)), false);
  assert.equal(writer.set("more", route(200)), false);
  writer.publish();
  reader.enter();
  for (let n = 0; n < shape.capacity; n++) assert.notEqual(reader.peerOf(0x0a050001 + n * 256), NO_PEER);
  writer.set("3", undefined);
  assert.equal(writer.set("more", route(200)), true);
});

Deno.test("after any sequence of changes the table equals a plain map", () => {
  const random = randomSource(31);
  const { writer, reader } = tables(300);
  const model = new Map<string, PeerRoute>();
  for (let step = 0; step < 3000; step++) {
    const n = random.below(250);
    const change = random.below(3) === 0
      ? undefined
      : route(n, { address: random.below(40), port: 8285 + random.below(2), length: 24 + random.below(3) });
    writer.set(`${n}`, change);
    if (change) model.set(`${n}`, change);
    else model.delete(`${n}`);
    if (random.below(4) !== 0) continue;
    if (random.below(2) === 0) reader.leave();
    writer.publish();
    reader.enter();
    if (writer.pending) continue;
    for (let probe = 0; probe < 20; probe++) {
      const m = random.below(250);
      const wanted = model.get(`${m}`);
      const slot = reader.peerOf((0x0a050001 + m * 256) | 0);
      assert.equal(slot === NO_PEER, wanted === undefined, `step ${step}, peer ${m}`);
      if (wanted) {
        assert.deepEqual([reader.addressOf(slot), reader.portOf(slot)], [wanted.address, wanted.port]);
      }
      const address = random.below(40), port = 8285 + random.below(2);
      const known = [...model.values()].some((one) => one.address === address && one.port === port);
      assert.equal(reader.isSender(address, port), known);
    }
  }
});
