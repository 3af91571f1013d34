import assert from "node:assert/strict";
import type { Counter } from "../../backends/udp/shared/counters.ts";
import type { PeerRoute } from "../../backends/udp/control/routes_writer.ts";
import type { Offloads } from "../../backends/udp/shared/offloads.ts";
import { randomSource } from "../../scripts/lab/random.ts";
import { ALL_OFFLOADS, FakeHost, NO_OFFLOADS, type ReceivedMessage } from "./udp_fake_io.ts";
import { buildPacket, type FlowPacket, randomPacket, slowChecksum, slowSegments } from "./udp_reference.ts";

const EIO = 5, EAGAIN = 11, EINVAL = 22, EMSGSIZE = 90, ENETUNREACH = 101, ENOBUFS = 105;
const PEER: PeerRoute = { base: 0x0a050200, length: 24, address: 0xac1e0002 | 0, port: 8285 };
const OTHER: PeerRoute = { base: 0x0a050300, length: 24, address: 0xac1e0003 | 0, port: 8286 };
const OWN_IP = new Uint8Array([10, 5, 1, 2]), PEER_IP = new Uint8Array([10, 5, 2, 2]);

/** A packet from this host's container to the peer's. */
function outgoing(change: Partial<FlowPacket> = {}, length = 100): FlowPacket {
  return {
    ...randomPacket(randomSource(41), length, { version: 4, protocol: "tcp" }),
    ...{
      source: OWN_IP,
      destination: PEER_IP,
      ttl: 63,
      flags: 0x10,
      options: new Uint8Array(),
      dontFragment: true,
    },
    ...change,
  };
}

const incoming = (change: Partial<FlowPacket> = {}, length = 100): FlowPacket =>
  outgoing({ source: PEER_IP, destination: OWN_IP, ...change }, length);

/** A packet with the virtio header of one that is complete. */
const plain = (bytes: Uint8Array): Uint8Array => new Uint8Array([...new Uint8Array(10), ...bytes]);

/** A super-packet as the TUN gives it. */
function superPacket(packet: FlowPacket, size: number): Uint8Array {
  return new Uint8Array([1, 1, 40, 0, size & 255, size >>> 8, 20, 0, 16, 0, ...buildPacket(packet)]);
}

const decremented = (packet: FlowPacket): Uint8Array =>
  new Uint8Array(buildPacket({ ...packet, ttl: packet.ttl - 1 }));

function from(peer: PeerRoute, bytes: Uint8Array, more: Partial<ReceivedMessage> = {}): ReceivedMessage {
  return { address: peer.address, port: peer.port, bytes, ...more };
}

const offloads = (change: Partial<Offloads>): Offloads => ({ ...ALL_OFFLOADS, ...change });

Deno.test("one packet a call: a packet goes to its peer with its TTL decremented, and nothing before it", () => {
  const host = new FakeHost(NO_OFFLOADS, [PEER, OTHER]);
  const other = outgoing({ destination: new Uint8Array([10, 5, 3, 9]) });
  host.io.toRead.push(buildPacket(outgoing()), buildPacket(other));
  assert.equal(host.outbound.turn(), 2);
  assert.deepEqual(host.io.sent, [
    { address: "172.30.0.2", port: 8285, bytes: decremented(outgoing()), segment: 0 },
    { address: "172.30.0.3", port: 8286, bytes: decremented(other), segment: 0 },
  ]);
});

Deno.test("a super-packet is cut up into one run of datagrams", () => {
  const host = new FakeHost(ALL_OFFLOADS, [PEER]);
  const packet = outgoing({ flags: 0x18 }, 3500);
  host.io.toRead.push(superPacket(packet, 1000));
  host.outbound.turn();
  const segments = slowSegments(packet, 1000).map(decremented);
  const [message, ...rest] = host.io.sent;
  assert.equal(rest.length, 0);
  assert.equal(message!.segment, 1040);
  assert.deepEqual(message!.bytes, new Uint8Array(segments.flatMap((bytes) => [...bytes])));
});

Deno.test("a run ends after 64 datagrams, 65,507 bytes, a shorter one, or with another peer", () => {
  const host = new FakeHost(ALL_OFFLOADS, [PEER, OTHER]);
  host.io.toRead.push(superPacket(outgoing({}, 62_000), 1400));
  host.outbound.turn();
  assert.deepEqual(
    host.io.sent.map(({ bytes, segment }) => Math.ceil(bytes.length / (segment || bytes.length))),
    [45],
  );
  host.io.sent.length = 0;
  host.io.toRead.push(superPacket(outgoing({}, 65_400), 1400));
  host.outbound.turn();
  assert.ok(host.io.sent.every(({ bytes }) => bytes.length <= 65507));
  assert.equal(host.io.sent.length, 2);
  host.io.sent.length = 0;
  host.io.toRead.push(superPacket(outgoing({}, 3000), 20));
  host.outbound.turn();
  assert.deepEqual(host.io.sent.map(({ bytes }) => bytes.length / 60), [64, 64, 22]);
  host.io.sent.length = 0;
  const toOther = outgoing({ destination: new Uint8Array([10, 5, 3, 9]) });
  for (const packet of [outgoing(), outgoing({}, 50), outgoing({}, 50), toOther, outgoing()]) {
    host.io.toRead.push(plain(buildPacket(packet)));
  }
  host.outbound.turn();
  assert.deepEqual(host.io.sent.map(({ address, bytes }) => [address, bytes.length]), [
    ["172.30.0.2", 230],
    ["172.30.0.2", 90],
    ["172.30.0.3", 140],
    ["172.30.0.2", 140],
  ]);
});

Deno.test("without UDP_SEGMENT each datagram is a message", () => {
  const host = new FakeHost(offloads({ segment: false }), [PEER]);
  host.io.toRead.push(superPacket(outgoing({}, 3500), 1000));
  host.outbound.turn();
  assert.deepEqual(host.io.sent.map(({ bytes, segment }) => [bytes.length, segment]), [
    [1040, 0],
    [1040, 0],
    [1040, 0],
    [540, 0],
  ]);
});

Deno.test("a run that is too long for the path goes datagram by datagram, and so do the next ones", () => {
  for (const error of [EMSGSIZE, EINVAL]) {
    const host = new FakeHost(ALL_OFFLOADS, [PEER]);
    host.io.refuseSend = ({ segment }) => segment > 0 ? error : 0;
    const packet = outgoing({}, 3500);
    host.io.toRead.push(superPacket(packet, 1000));
    host.outbound.turn();
    assert.deepEqual(host.io.sent.map(({ bytes }) => bytes), slowSegments(packet, 1000).map(decremented));
    assert.equal(host.counted("splitSends"), 1);
    assert.equal(host.counted("outSendFailed"), 0);
    host.io.toRead.push(superPacket(packet, 1000));
    host.outbound.turn();
    assert.equal(host.counted("splitSends"), 1, "UDP_SEGMENT wasn't even tried");
    assert.equal(host.offloads.has("segment"), true, "other peers keep it");
  }
});

Deno.test("EIO of one destination takes UDP_SEGMENT away from it alone, and the batch at hand still arrives", () => {
  const host = new FakeHost(ALL_OFFLOADS, [PEER, OTHER]);
  let tries = 0;
  host.io.refuseSend = ({ segment, address }) => segment > 0 && address === "172.30.0.2" ? (tries++, EIO) : 0;
  const packet = outgoing({}, 62_000);
  host.io.toRead.push(superPacket(packet, 1000), superPacket(packet, 1000));
  host.outbound.turn();
  const segments = slowSegments(packet, 1000).map(decremented);
  assert.deepEqual(host.io.sent.map(({ bytes }) => bytes), [...segments, ...segments]);
  assert.equal(host.counted("segmentDowngrades"), 1);
  assert.equal(tries, 1, "runs behind the refused one aren't tried");
  host.io.sent.length = 0;
  const toOther = outgoing({ destination: new Uint8Array([10, 5, 3, 9]) }, 62_000);
  host.io.toRead.push(superPacket(packet, 1000), superPacket(toOther, 1000));
  host.outbound.turn();
  const segmented = (address: string) =>
    host.io.sent.filter((message) => message.address === address).map(({ segment }) => segment > 0);
  assert.ok(segmented("172.30.0.2").every((is) => !is));
  assert.deepEqual(segmented("172.30.0.3"), [true], "one destination's EIO is no other's");
  assert.equal(tries, 1);
  assert.equal(host.offloads.has("segment"), true);
});

Deno.test("sends go on behind what was refused, after partial sends and when memory was short", () => {
  const host = new FakeHost(offloads({ segment: false }), [PEER, OTHER]);
  host.io.sendLimit = 2;
  let short = 2;
  host.io.refuseSend = ({ bytes }) => bytes.length === 240 ? ENETUNREACH : short-- > 0 ? ENOBUFS : 0;
  for (const length of [100, 200, 300, 400, 500]) {
    host.io.toRead.push(plain(buildPacket(outgoing({}, length))));
  }
  host.outbound.turn();
  assert.deepEqual(host.io.sent.map(({ bytes }) => bytes.length), [140, 340, 440, 540]);
  assert.equal(host.counted("outSendFailed"), 1);
  assert.equal(host.counted("sentPackets"), 4);
});

Deno.test("a full send buffer drops what doesn't fit, counts it, and never waits", () => {
  for (const offloads of [ALL_OFFLOADS, NO_OFFLOADS]) {
    const host = new FakeHost(offloads, [PEER, OTHER]);
    let room = 2, calls = 0;
    host.io.refuseSend = () => (calls++, room-- > 0 ? 0 : EAGAIN);
    for (const last of [2, 3, 2, 3, 2]) {
      const packet = buildPacket(outgoing({ destination: new Uint8Array([10, 5, last % 2 + 2, 2]) }));
      host.io.toRead.push(offloads.vnetHeader ? plain(packet) : packet);
    }
    host.outbound.turn();
    assert.equal(host.io.sent.length, 2);
    assert.equal(host.counted("outBufferFull"), 3);
    assert.equal(host.counted("outSendFailed"), 0);
    assert.equal(host.counted("sentPackets"), 2);
    assert.equal(host.counted("sentBytes"), 280);
    if (offloads.batch) assert.equal(calls, 4, "nothing behind a full buffer is tried");
  }
});

Deno.test("no route: ICMP net unreachable into the TUN, about first fragments only and never about ICMP", () => {
  const host = new FakeHost(NO_OFFLOADS, [PEER]);
  const lost = outgoing({ destination: new Uint8Array([10, 5, 9, 9]) });
  host.io.toRead.push(buildPacket(lost));
  host.outbound.turn();
  const [error] = host.io.written;
  assert.deepEqual([...error!.slice(9, 10), ...error!.slice(12, 22)], [1, 10, 5, 1, 0, 10, 5, 1, 2, 3, 0]);
  assert.equal(slowChecksum([...error!.slice(0, 20)]), 0);
  assert.equal(slowChecksum([...error!.slice(20)]), 0);
  assert.deepEqual(error!.slice(28), new Uint8Array(buildPacket(lost)));
  const fragment = buildPacket(lost);
  fragment[7] = 5;
  const ping = buildPacket(lost);
  ping[9] = 1;
  const multicast = buildPacket({ ...lost, destination: new Uint8Array([224, 0, 0, 1]) });
  const anonymous = buildPacket({ ...lost, source: new Uint8Array(4) });
  host.io.toRead.push(fragment, ping, multicast, anonymous);
  host.outbound.turn();
  assert.equal(host.io.written.length, 1);
  assert.equal(host.counted("outNoRoute"), 5);
});

Deno.test("a TTL that is used up on the way out is answered into the TUN", () => {
  const host = new FakeHost(ALL_OFFLOADS, [PEER]);
  host.io.toRead.push(plain(buildPacket(outgoing({ ttl: 1 }))));
  host.outbound.turn();
  assert.equal(host.io.sent.length, 0);
  assert.deepEqual([...host.io.written[0]!.slice(10 + 20, 10 + 22)], [11, 0]);
  assert.equal(host.counted("outTtl"), 1);
});

Deno.test("a TTL that is used up on the way in is answered through the tunnel", () => {
  const host = new FakeHost(ALL_OFFLOADS, [PEER]);
  host.io.toReceive.push(from(PEER, buildPacket(incoming({ ttl: 1 }))));
  host.inbound.turn();
  assert.equal(host.io.written.length, 0);
  const [{ address, port, bytes }] = host.io.sent as [typeof host.io.sent[0]];
  assert.deepEqual([address, port], ["172.30.0.2", 8285]);
  assert.deepEqual([...bytes.slice(12, 22)], [10, 5, 1, 0, 10, 5, 2, 2, 11, 0]);
  assert.equal(host.counted("inTtl"), 1);
});

Deno.test("ICMP errors are limited: 50 at once, then a thousand a second", () => {
  const host = new FakeHost(NO_OFFLOADS, []);
  const flood = () => {
    for (let n = 0; n < 60; n++) host.io.toRead.push(buildPacket(outgoing()));
    host.outbound.turn();
  };
  flood();
  assert.equal(host.counted("icmpErrors"), 50);
  host.now += 10;
  flood();
  assert.equal(host.counted("icmpErrors"), 60);
});

Deno.test("only IPv4 goes out, and what makes no sense is dropped and counted", () => {
  const host = new FakeHost(ALL_OFFLOADS, [PEER]);
  const v6 = buildPacket(randomPacket(randomSource(42), 10, { version: 6 }));
  const short = buildPacket(outgoing()).slice(0, 60);
  const badStart = superPacket(outgoing({}, 3000), 1000);
  badStart[6] = 99;
  const badCsum = plain(buildPacket(outgoing()));
  badCsum.set([1, 0, 0, 0, 0, 0, 255, 255, 16, 0]);
  host.io.toRead.push(
    plain(v6),
    plain(short),
    badStart,
    badCsum,
    new Uint8Array(9),
    plain(new Uint8Array(0)),
  );
  assert.equal(host.outbound.turn(), 6);
  assert.equal(host.io.sent.length, 0);
  assert.equal(host.counted("outNotIpv4"), 1);
  assert.equal(host.counted("outMalformed"), 5);
});

Deno.test("a burst that came in one message is written as one super-packet", () => {
  const host = new FakeHost(ALL_OFFLOADS, [PEER]);
  const packet = incoming({}, 3500);
  const bytes = new Uint8Array(slowSegments(packet, 1000).flatMap((segment) => [...buildPacket(segment)]));
  host.io.toReceive.push(from(PEER, bytes, { segment: 1040 }));
  host.inbound.turn();
  const [written, ...rest] = host.io.written;
  assert.equal(rest.length, 0);
  assert.deepEqual([...written!.slice(0, 10)], [1, 1, 40, 0, 1000 & 255, 1000 >>> 8, 20, 0, 16, 0]);
  assert.equal(written!.length, 10 + 40 + 3500);
  assert.equal(written![10 + 8], 62);
  assert.equal(host.counted("mergedPackets"), 4);
});

Deno.test("merging goes on over the messages of one call", () => {
  const host = new FakeHost(ALL_OFFLOADS, [PEER]);
  for (const segment of slowSegments(incoming({}, 3500), 1000)) {
    host.io.toReceive.push(from(PEER, buildPacket(segment)));
  }
  host.inbound.turn();
  assert.equal(host.io.written.length, 1);
});

Deno.test("super-packets that the kernel refuses are written packet by packet, and merging stops for their kind", () => {
  const host = new FakeHost(ALL_OFFLOADS, [PEER]);
  host.io.refuseWrite = (bytes) => bytes[1] === 1 ? EINVAL : 0;
  const segments = slowSegments(incoming({}, 3500), 1000);
  const receive = () => {
    for (const segment of segments) host.io.toReceive.push(from(PEER, buildPacket(segment)));
    host.inbound.turn();
  };
  receive();
  assert.deepEqual(host.io.written, segments.map((segment) => plain(decremented(segment))));
  assert.deepEqual([host.offloads.has("mergeTcp"), host.offloads.has("mergeUdp")], [false, true]);
  assert.equal(host.counted("mergeDowngrades"), 1);
  host.io.written.length = 0;
  receive();
  assert.equal(host.io.written.length, 4);
  assert.equal(host.counted("mergeDowngrades"), 1);
});

Deno.test("a device that is down loses packets but no offload", () => {
  const host = new FakeHost(ALL_OFFLOADS, [PEER]);
  host.io.refuseWrite = () => EIO;
  for (const segment of slowSegments(incoming({}, 3500), 1000)) {
    host.io.toReceive.push(from(PEER, buildPacket(segment)));
  }
  host.inbound.turn();
  assert.equal(host.counted("inWriteFailed"), 4);
  assert.equal(host.offloads.has("mergeTcp"), true);
});

/** Who may send what: name, message, counter of the drop (undefined: it is let through). */
const SENDERS: readonly (readonly [string, ReceivedMessage, Counter | undefined])[] = [
  ["a live peer with its own source", from(PEER, buildPacket(incoming())), undefined],
  ["a stranger", from({ ...PEER, address: 9 }, buildPacket(incoming())), "inUnknownSender"],
  [
    "a peer's address from another port",
    from({ ...PEER, port: 9 }, buildPacket(incoming())),
    "inUnknownSender",
  ],
  ["a peer with another peer's source", from(OTHER, buildPacket(incoming())), "inForeignSource"],
  [
    "a peer with this host's source",
    from(PEER, buildPacket(incoming({ source: OWN_IP }))),
    "inForeignSource",
  ],
  [
    "a source outside of the network",
    from(PEER, buildPacket(incoming({ source: new Uint8Array([8, 8, 8, 8]) }))),
    "inForeignSource",
  ],
  [
    "a destination outside of the own subnet",
    from(PEER, buildPacket(incoming({ destination: new Uint8Array([10, 5, 3, 1]) }))),
    "inForeignDestination",
  ],
  ["19 bytes", from(PEER, buildPacket(incoming()).slice(0, 19)), "inTruncated"],
  ["a longer length in the header", from(PEER, buildPacket(incoming()).slice(0, 60)), "inMalformed"],
  ["bytes behind the packet", from(PEER, new Uint8Array([...buildPacket(incoming()), 0])), "inMalformed"],
  ["a header of 16 bytes", from(PEER, buildPacket(incoming()).with(0, 0x44)), "inMalformed"],
  ["a header beyond the packet", from(PEER, buildPacket(incoming({}, 0)).with(0, 0x4f)), "inMalformed"],
  [
    "IPv6 with mapped addresses",
    from(PEER, buildPacket(randomPacket(randomSource(43), 10, { version: 6 }))),
    "inNotIpv4",
  ],
  ["version 5", from(PEER, buildPacket(incoming()).with(0, 0x55)), "inNotIpv4"],
  ["a datagram that was cut off", from(PEER, buildPacket(incoming()), { truncated: true }), "inTruncated"],
];

Deno.test("who may send: live peers, from their own subnets, to this one; all else is dropped and counted", () => {
  for (const [name, message, counter] of SENDERS) {
    const host = new FakeHost(ALL_OFFLOADS, [PEER, OTHER]);
    host.io.toReceive.push(message);
    host.inbound.turn();
    assert.equal(host.io.written.length, counter === undefined ? 1 : 0, name);
    if (counter) assert.equal(host.counted(counter), 1, name);
    assert.equal(host.counted("receivedPackets"), counter === undefined ? 1 : 0, name);
  }
});

Deno.test("SourceCheck address lets a NAT change the port; false lets everyone send", () => {
  const moved = from({ ...PEER, port: 9 }, buildPacket(incoming()));
  const stranger = from({ ...PEER, address: 9 }, buildPacket(incoming()));
  for (const [check, passes] of [[0, 2], [1, 1], [2, 0]] as const) {
    const host = new FakeHost(ALL_OFFLOADS, [PEER], check);
    host.io.toReceive.push(moved, stranger);
    host.inbound.turn();
    assert.equal(host.io.written.length, passes);
  }
});

Deno.test("with SourceCheck false no ICMP error goes to a forged source, neither the outer nor the inner one", () => {
  const expiring = buildPacket(incoming({ ttl: 1 }));
  for (const forged of [{ ...PEER, address: 9 }, { ...PEER, port: 9 }, OTHER]) {
    const host = new FakeHost(ALL_OFFLOADS, [PEER, OTHER], 0);
    host.io.toReceive.push(from(forged, expiring));
    host.inbound.turn();
    assert.equal(host.counted("inTtl"), 1);
    assert.deepEqual([host.io.sent.length, host.io.written.length], [0, 0]);
  }
  const host = new FakeHost(ALL_OFFLOADS, [PEER, OTHER], 0);
  host.io.toReceive.push(from(PEER, expiring));
  host.inbound.turn();
  assert.equal(host.io.sent.length, 1, "a real peer is answered");
  // To a subnet without a route: it would go through the kernel back into the TUN, and be answered there.
  const lost = incoming({ destination: new Uint8Array([10, 5, 9, 9]) });
  host.io.toReceive.push(from({ ...PEER, address: 9 }, buildPacket(lost)));
  host.inbound.turn();
  assert.equal(host.counted("inForeignDestination"), 1);
  assert.equal(host.io.written.length, 0);
});

Deno.test("a peer that went may send no longer, and gets nothing", () => {
  const host = new FakeHost(ALL_OFFLOADS, [PEER]);
  host.writer.set("0", undefined);
  host.writer.publish();
  host.routes.enter();
  host.io.toReceive.push(from(PEER, buildPacket(incoming())));
  host.io.toRead.push(plain(buildPacket(outgoing())));
  host.inbound.turn();
  host.outbound.turn();
  assert.equal(host.counted("inUnknownSender"), 1);
  assert.equal(host.counted("outNoRoute"), 1);
});

Deno.test("random and mutated datagrams on every offload never crash", () => {
  const rounds = Number(Deno.env.get("FLANNEL_FUZZ_ROUNDS") ?? 20_000) / 4;
  const random = randomSource(44);
  for (
    const offload of [
      ALL_OFFLOADS,
      NO_OFFLOADS,
      offloads({ gro: false }),
      offloads({ mergeTcp: false, mergeUdp: false }),
    ]
  ) {
    const host = new FakeHost(offload, [PEER], 0);
    for (let round = 0; round < rounds / 4; round++) {
      const bytes = buildPacket(incoming({}, random.below(200)));
      for (let n = random.below(5); n > 0; n--) bytes[random.below(bytes.length)] = random.below(256);
      const cut = random.below(5) === 0 ? random.below(bytes.length) + 1 : bytes.length;
      host.io.toReceive.push(
        from(PEER, bytes.slice(0, cut), { segment: offload.gro ? 1 + random.below(200) : 0 }),
      );
      const header = Uint8Array.from({ length: 10 }, () => random.below(4) === 0 ? random.below(256) : 0);
      host.io.toRead.push(offload.vnetHeader ? new Uint8Array([...header, ...bytes]) : bytes);
      host.outbound.turn();
      host.inbound.turn();
      host.io.sent.length = host.io.written.length = 0;
    }
  }
});
