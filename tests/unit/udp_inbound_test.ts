import assert from "node:assert/strict";
import type { Counter } from "../../backends/udp/shared/counters.ts";
import { randomSource } from "../../scripts/lab/random.ts";
import { ALL_OFFLOADS, FakeHost, NO_OFFLOADS, type ReceivedMessage } from "./udp_fake_io.ts";
import {
  decremented,
  familyTest,
  from,
  incoming,
  type Net,
  NET4,
  NET6,
  offloads,
  outgoing,
  plain,
  sizeOf,
} from "./udp_packets.ts";
import { buildPacket, randomPacket, slowSegments } from "./udp_reference.ts";

const EIO = 5, EINVAL = 22;

familyTest("a TTL that is used up on the way in is answered through the tunnel", (net) => {
  const host = new FakeHost(ALL_OFFLOADS, [net.peer]);
  host.kernel.toReceive.push(from(net.peer, buildPacket(incoming(net, { ttl: 1 }))));
  host.receive();
  assert.equal(host.kernel.written.length, 0);
  const [{ address, port, bytes }] = host.kernel.sent as [typeof host.kernel.sent[0]];
  assert.deepEqual([address, port], [net.peer.address, 8285]);
  const type = net.version === 4 ? [11, 0] : [3, 0];
  assert.deepEqual([...bytes.slice(net.source, net.header + 2)], [...net.tunnel, ...net.theirs, ...type]);
  assert.equal(host.counted("inTtl"), 1);
});

familyTest("a burst that came in one message is written as one super-packet", (net) => {
  const host = new FakeHost(ALL_OFFLOADS, [net.peer]);
  const packet = incoming(net, {}, 3500);
  const bytes = new Uint8Array(slowSegments(packet, 1000).flatMap((segment) => [...buildPacket(segment)]));
  host.kernel.toReceive.push(from(net.peer, bytes, { segment: sizeOf(net, 1000) }));
  host.receive();
  const [written, ...rest] = host.kernel.written;
  assert.equal(rest.length, 0);
  const type = net.version === 4 ? 1 : 4;
  const vnet = [1, type, sizeOf(net, 0), 0, 1000 & 255, 1000 >>> 8, net.header, 0, 16, 0];
  assert.deepEqual([...written!.slice(0, 10)], vnet);
  assert.equal(written!.length, 10 + sizeOf(net, 3500));
  assert.equal(written![10 + net.ttl], 62);
  assert.equal(host.counted("mergedPackets"), 4);
});

familyTest("merging goes on over the messages of one call", (net) => {
  const host = new FakeHost(ALL_OFFLOADS, [net.peer]);
  for (const segment of slowSegments(incoming(net, {}, 3500), 1000)) {
    host.kernel.toReceive.push(from(net.peer, buildPacket(segment)));
  }
  host.receive();
  assert.equal(host.kernel.written.length, 1);
});

familyTest(
  "super-packets that the kernel refuses are written one by one, and merging stops for their kind",
  (net) => {
    const host = new FakeHost(ALL_OFFLOADS, [net.peer]);
    host.kernel.refuseWrite = (bytes) => bytes[1] !== 0 ? EINVAL : 0;
    const segments = slowSegments(incoming(net, {}, 3500), 1000);
    const receive = () => {
      for (const segment of segments) host.kernel.toReceive.push(from(net.peer, buildPacket(segment)));
      host.receive();
    };
    receive();
    assert.deepEqual(host.kernel.written, segments.map((segment) => plain(decremented(segment))));
    assert.deepEqual([host.offloads.has("mergeTcp"), host.offloads.has("mergeUdp")], [false, true]);
    assert.equal(host.counted("mergeDowngrades"), 1);
    host.kernel.written.length = 0;
    receive();
    assert.equal(host.kernel.written.length, 4);
    assert.equal(host.counted("mergeDowngrades"), 1);
  },
);

familyTest("a device that is down loses packets but no offload", (net) => {
  const host = new FakeHost(ALL_OFFLOADS, [net.peer]);
  host.kernel.refuseWrite = () => EIO;
  for (const segment of slowSegments(incoming(net, {}, 3500), 1000)) {
    host.kernel.toReceive.push(from(net.peer, buildPacket(segment)));
  }
  host.receive();
  assert.equal(host.counted("inWriteFailed"), 4);
  assert.equal(host.offloads.has("mergeTcp"), true);
});

/** Who may send what: name, message, counter of the drop (undefined: it is let through). */
function senders(net: Net): (readonly [string, ReceivedMessage, Counter | undefined])[] {
  const { peer, other, stranger } = net;
  const honest = buildPacket(incoming(net));
  const otherFamily = net.version === 4 ? NET6 : NET4;
  return [
    ["a live peer with its own source", from(peer, honest), undefined],
    ["a stranger", from({ ...peer, address: stranger }, honest), "inUnknownSender"],
    ["a peer's address from another port", from({ ...peer, port: 9 }, honest), "inUnknownSender"],
    ["a peer with another peer's source", from(other, honest), "inForeignSource"],
    [
      "a peer with this host's source",
      from(peer, buildPacket(incoming(net, { source: net.own }))),
      "inForeignSource",
    ],
    [
      "a source outside of the network",
      from(peer, buildPacket(incoming(net, { source: net.outside }))),
      "inForeignSource",
    ],
    [
      "a destination outside of the own subnet",
      from(peer, buildPacket(incoming(net, { destination: net.others }))),
      "inForeignDestination",
    ],
    ["19 bytes", from(peer, honest.slice(0, 19)), "inTruncated"],
    ["a header that is cut off", from(peer, honest.slice(0, net.header - 1)), "inTruncated"],
    ["a longer length in the header", from(peer, honest.slice(0, 60)), "inMalformed"],
    ["bytes behind the packet", from(peer, new Uint8Array([...honest, 0])), "inMalformed"],
    ["the other family's packet", from(peer, buildPacket(incoming(otherFamily))), "inWrongFamily"],
    [
      "mapped addresses",
      from(peer, buildPacket(incoming(NET6, mapped))),
      net.version === 4 ? "inWrongFamily" : "inForeignSource",
    ],
    ["version 5", from(peer, honest.with(0, 0x55)), "inWrongFamily"],
    ["a datagram that was cut off", from(peer, honest, { truncated: true }), "inTruncated"],
  ];
}

/** An IPv4 peer's addresses as IPv6 has them (RFC 4291, 2.5.5.2). */
const mapped = {
  source: new Uint8Array([...new Uint8Array(10), 255, 255, ...NET4.theirs]),
  destination: new Uint8Array([...new Uint8Array(10), 255, 255, ...NET4.own]),
};

familyTest(
  "who may send: live peers, from their own subnets, to this one; all else is dropped and counted",
  (net) => {
    for (const [name, message, counter] of senders(net)) {
      const host = new FakeHost(ALL_OFFLOADS, [NET4.peer, NET4.other, NET6.peer, NET6.other]);
      host.kernel.toReceive.push(message);
      host.receive();
      assert.equal(host.kernel.written.length, counter === undefined ? 1 : 0, name);
      if (counter) assert.equal(host.counted(counter), 1, name);
      assert.equal(host.counted("receivedPackets"), counter === undefined ? 1 : 0, name);
    }
  },
);

Deno.test("IPv4 headers that are too short or too long are malformed", () => {
  for (const [first, length] of [[0x44, 100], [0x4f, 0]] as const) {
    const host = new FakeHost(ALL_OFFLOADS, [NET4.peer]);
    host.kernel.toReceive.push(from(NET4.peer, buildPacket(incoming(NET4, {}, length)).with(0, first)));
    host.receive();
    assert.equal(host.counted("inMalformed"), 1);
  }
});

familyTest("SourceCheck address lets a NAT change the port; false lets everyone send", (net) => {
  const moved = from({ ...net.peer, port: 9 }, buildPacket(incoming(net)));
  const stranger = from({ ...net.peer, address: net.stranger }, buildPacket(incoming(net)));
  for (const [check, passes] of [[0, 2], [1, 1], [2, 0]] as const) {
    const host = new FakeHost(ALL_OFFLOADS, [net.peer], check);
    host.kernel.toReceive.push(moved, stranger);
    host.receive();
    assert.equal(host.kernel.written.length, passes);
  }
});

familyTest(
  "with SourceCheck false no ICMP error goes to a forged source, neither outside nor inside",
  (net) => {
    const expiring = buildPacket(incoming(net, { ttl: 1 }));
    for (const forged of [{ ...net.peer, address: net.stranger }, { ...net.peer, port: 9 }, net.other]) {
      const host = new FakeHost(ALL_OFFLOADS, [net.peer, net.other], 0);
      host.kernel.toReceive.push(from(forged, expiring));
      host.receive();
      assert.equal(host.counted("inTtl"), 1);
      assert.deepEqual([host.kernel.sent.length, host.kernel.written.length], [0, 0]);
    }
    const host = new FakeHost(ALL_OFFLOADS, [net.peer, net.other], 0);
    host.kernel.toReceive.push(from(net.peer, expiring));
    host.receive();
    assert.equal(host.kernel.sent.length, 1, "a real peer is answered");
    // To a subnet without a route: it would go through the kernel back into the TUN, and be answered there.
    const lost = incoming(net, { destination: net.nobodys });
    host.kernel.toReceive.push(from({ ...net.peer, address: net.stranger }, buildPacket(lost)));
    host.receive();
    assert.equal(host.counted("inForeignDestination"), 1);
    assert.equal(host.kernel.written.length, 0);
  },
);

familyTest("a peer that went may send no longer, and gets nothing", (net) => {
  const host = new FakeHost(ALL_OFFLOADS, [net.peer]);
  host.writer.set("0", {});
  host.writer.publish();
  host.routes.enter();
  host.kernel.toReceive.push(from(net.peer, buildPacket(incoming(net))));
  host.kernel.toRead.push(plain(buildPacket(outgoing(net))));
  host.receive();
  host.outbound.turn();
  assert.equal(host.counted("inUnknownSender"), 1);
  assert.equal(host.counted("outNoRoute"), 1);
});

familyTest("random and mutated datagrams with any offloads never crash", (net) => {
  const rounds = Number(Deno.env.get("FLANNEL_FUZZ_ROUNDS") ?? 20_000) / 4;
  const random = randomSource(44);
  const some = [
    ALL_OFFLOADS,
    NO_OFFLOADS,
    offloads({ gro: false }),
    offloads({ mergeTcp: false, mergeUdp: false }),
  ];
  for (const set of some) {
    const host = new FakeHost(set, [net.peer], 0);
    for (let round = 0; round < rounds / 4; round++) {
      const bytes = buildPacket({
        ...randomPacket(random, random.below(200), { version: net.version }),
        ...{ source: net.theirs, destination: net.own },
      });
      for (let n = random.below(5); n > 0; n--) bytes[random.below(bytes.length)] = random.below(256);
      const cut = random.below(5) === 0 ? random.below(bytes.length) + 1 : bytes.length;
      host.kernel.toReceive.push(
        from(net.peer, bytes.slice(0, cut), { segment: set.gro ? 1 + random.below(200) : 0 }),
      );
      bytes.set(random.below(4) === 0 ? net.nobodys : net.theirs, net.source + net.own.length);
      const header = Uint8Array.from({ length: 10 }, () => random.below(4) === 0 ? random.below(256) : 0);
      host.kernel.toRead.push(set.vnetHeader ? new Uint8Array([...header, ...bytes]) : bytes);
      host.outbound.turn();
      host.receive();
      host.kernel.sent.length = host.kernel.written.length = 0;
    }
    assert.ok(host.counted("sentPackets") > 0 && host.counted("receivedPackets") > 0);
  }
});
