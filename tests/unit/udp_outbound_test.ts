import assert from "node:assert/strict";
import { slowSegments } from "./udp_reference.ts";
import { buildPacket, randomPacket, slowChecksum } from "./udp_reference.ts";
import { randomSource } from "../../scripts/lab/random.ts";
import { IPV4 as FAMILY4, IPV6 as FAMILY6 } from "../../lib/net/family.ts";
import { ALL_OFFLOADS, FakeHost, NO_OFFLOADS } from "./udp_fake_io.ts";
import {
  decremented,
  familyTest,
  ip,
  NET4,
  NET6,
  offloads,
  outgoing,
  plain,
  sizeOf,
  superPacket,
} from "./udp_packets.ts";

const EIO = 5, EAGAIN = 11, EINVAL = 22, EMSGSIZE = 90, ENETUNREACH = 101, ENOBUFS = 105;

familyTest(
  "one packet a call: a packet goes to its peer with its TTL decremented, and nothing before it",
  (net) => {
    const host = new FakeHost(NO_OFFLOADS, [net.peer, net.other]);
    const other = outgoing(net, { destination: net.others });
    host.kernel.toRead.push(buildPacket(outgoing(net)), buildPacket(other));
    assert.equal(host.outbound.turn(), 2);
    assert.deepEqual(host.kernel.sent, [
      { address: net.peer.address, port: 8285, bytes: decremented(outgoing(net)), segment: 0 },
      { address: net.other.address, port: 8286, bytes: decremented(other), segment: 0 },
    ]);
  },
);

Deno.test("packets of both families go in one turn, each over its own", () => {
  const host = new FakeHost(ALL_OFFLOADS, [NET4.peer, NET6.peer]);
  for (const net of [NET4, NET6, NET4, NET6]) host.kernel.toRead.push(plain(buildPacket(outgoing(net))));
  assert.equal(host.outbound.turn(), 4);
  const lengths = (net: typeof NET4) =>
    host.kernel.sent.filter(({ address }) => address === net.peer.address).map(({ bytes }) => bytes.length);
  assert.deepEqual(lengths(NET4), [2 * sizeOf(NET4, 100)]);
  assert.deepEqual(lengths(NET6), [2 * sizeOf(NET6, 100)]);
});

familyTest("a super-packet is cut up into one run of datagrams", (net) => {
  const host = new FakeHost(ALL_OFFLOADS, [net.peer]);
  const packet = outgoing(net, { flags: 0x18 }, 3500);
  host.kernel.toRead.push(superPacket(packet, 1000));
  host.outbound.turn();
  const segments = slowSegments(packet, 1000).map(decremented);
  const [message, ...rest] = host.kernel.sent;
  assert.equal(rest.length, 0);
  assert.equal(message!.segment, sizeOf(net, 1000));
  assert.deepEqual(message!.bytes, new Uint8Array(segments.flatMap((bytes) => [...bytes])));
});

familyTest("a run ends after 64 datagrams, 65,507 bytes, a shorter one, or with another peer", (net) => {
  const host = new FakeHost(ALL_OFFLOADS, [net.peer, net.other]);
  const { sent } = host.kernel;
  const send = (payload: number, size: number) => {
    sent.length = 0;
    host.kernel.toRead.push(superPacket(outgoing(net, {}, payload), size));
    host.outbound.turn();
  };
  send(62_000, 1400);
  assert.deepEqual(sent.map(({ bytes, segment }) => Math.ceil(bytes.length / (segment || bytes.length))), [
    45,
  ]);
  send(65_400, 1400);
  assert.ok(sent.every(({ bytes }) => bytes.length <= 65507));
  assert.equal(sent.length, 2);
  send(3000, 20);
  assert.deepEqual(sent.map(({ bytes }) => bytes.length / sizeOf(net, 20)), [64, 64, 22]);
  sent.length = 0;
  const toOther = outgoing(net, { destination: net.others });
  for (
    const packet of [outgoing(net), outgoing(net, {}, 50), outgoing(net, {}, 50), toOther, outgoing(net)]
  ) {
    host.kernel.toRead.push(plain(buildPacket(packet)));
  }
  host.outbound.turn();
  const large = sizeOf(net, 100), small = sizeOf(net, 50);
  assert.deepEqual(sent.map(({ address, bytes }) => [address, bytes.length]), [
    [net.peer.address, large + small],
    [net.peer.address, small],
    [net.other.address, large],
    [net.peer.address, large],
  ]);
});

familyTest("without UDP_SEGMENT each datagram is a message", (net) => {
  const host = new FakeHost(offloads({ segment: false }), [net.peer]);
  host.kernel.toRead.push(superPacket(outgoing(net, {}, 3500), 1000));
  host.outbound.turn();
  const whole = [sizeOf(net, 1000), 0];
  assert.deepEqual(host.kernel.sent.map(({ bytes, segment }) => [bytes.length, segment]), [
    whole,
    whole,
    whole,
    [sizeOf(net, 500), 0],
  ]);
});

familyTest(
  "a run that is too long for the path goes datagram by datagram, and so do the next ones",
  (net) => {
    for (const error of [EMSGSIZE, EINVAL]) {
      const host = new FakeHost(ALL_OFFLOADS, [net.peer]);
      host.kernel.refuseSend = ({ segment }) => segment > 0 ? error : 0;
      const packet = outgoing(net, {}, 3500);
      host.kernel.toRead.push(superPacket(packet, 1000));
      host.outbound.turn();
      assert.deepEqual(
        host.kernel.sent.map(({ bytes }) => bytes),
        slowSegments(packet, 1000).map(decremented),
      );
      assert.equal(host.counted("splitSends"), 1);
      assert.equal(host.counted("outSendFailed"), 0);
      host.kernel.toRead.push(superPacket(packet, 1000));
      host.outbound.turn();
      assert.equal(host.counted("splitSends"), 1, "UDP_SEGMENT wasn't even tried");
      assert.equal(host.offloads.has("segment"), true, "other peers keep it");
    }
  },
);

familyTest(
  "EIO of one destination takes UDP_SEGMENT away from it alone, and the batch at hand arrives",
  (net) => {
    const host = new FakeHost(ALL_OFFLOADS, [net.peer, net.other]);
    const { sent } = host.kernel;
    let tries = 0;
    host.kernel.refuseSend = ({ segment, address }) =>
      segment > 0 && address === net.peer.address ? (tries++, EIO) : 0;
    const packet = outgoing(net, {}, 62_000);
    host.kernel.toRead.push(superPacket(packet, 1000), superPacket(packet, 1000));
    host.outbound.turn();
    const segments = slowSegments(packet, 1000).map(decremented);
    assert.deepEqual(sent.map(({ bytes }) => bytes), [...segments, ...segments]);
    assert.equal(host.counted("segmentDowngrades"), 1);
    assert.equal(tries, 1, "runs behind the refused one aren't tried");
    sent.length = 0;
    const toOther = outgoing(net, { destination: net.others }, 60_000);
    host.kernel.toRead.push(superPacket(packet, 1000), superPacket(toOther, 1000));
    host.outbound.turn();
    const segmented = (to: string) =>
      sent.filter(({ address }) => address === to).map(({ segment }) => segment > 0);
    assert.ok(segmented(net.peer.address).every((is) => !is));
    assert.deepEqual(segmented(net.other.address), [true], "one destination's EIO is no other's");
    assert.equal(tries, 1);
    assert.equal(host.offloads.has("segment"), true);
  },
);

familyTest("sends go on behind what was refused, after partial sends and when memory was short", (net) => {
  const host = new FakeHost(offloads({ segment: false }), [net.peer, net.other]);
  host.kernel.sendLimit = 2;
  let short = 2;
  host.kernel.refuseSend = ({ bytes }) =>
    bytes.length === sizeOf(net, 200) ? ENETUNREACH : short-- > 0 ? ENOBUFS : 0;
  for (const length of [100, 200, 300, 400, 500]) {
    host.kernel.toRead.push(plain(buildPacket(outgoing(net, {}, length))));
  }
  host.outbound.turn();
  assert.deepEqual(
    host.kernel.sent.map(({ bytes }) => bytes.length),
    [100, 300, 400, 500].map((payload) => sizeOf(net, payload)),
  );
  assert.equal(host.counted("outSendFailed"), 1);
  assert.equal(host.counted("sentPackets"), 4);
});

familyTest("a full send buffer drops what doesn't fit, counts it, and never waits", (net) => {
  for (const some of [ALL_OFFLOADS, NO_OFFLOADS]) {
    const host = new FakeHost(some, [net.peer, net.other]);
    let room = 2, calls = 0;
    host.kernel.refuseSend = () => (calls++, room-- > 0 ? 0 : EAGAIN);
    for (const destination of [net.theirs, net.others, net.theirs, net.others, net.theirs]) {
      const packet = buildPacket(outgoing(net, { destination }));
      host.kernel.toRead.push(some.vnetHeader ? plain(packet) : packet);
    }
    host.outbound.turn();
    assert.equal(host.kernel.sent.length, 2);
    assert.equal(host.counted("outBufferFull"), 3);
    assert.equal(host.counted("outSendFailed"), 0);
    assert.equal(host.counted("sentPackets"), 2);
    assert.equal(host.counted("sentBytes"), 2 * sizeOf(net, 100));
    if (some.batch) assert.equal(calls, 4, "nothing behind a full buffer is tried");
  }
});

Deno.test("no route: ICMP net unreachable into the TUN, about first fragments only and never about ICMP", () => {
  const host = new FakeHost(NO_OFFLOADS, [NET4.peer]);
  const lost = outgoing(NET4, { destination: NET4.nobodys });
  host.kernel.toRead.push(buildPacket(lost));
  host.outbound.turn();
  const [error] = host.kernel.written;
  assert.deepEqual([...error!.slice(9, 10), ...error!.slice(12, 22)], [1, 10, 5, 1, 0, 10, 5, 1, 2, 3, 0]);
  assert.equal(slowChecksum([...error!.slice(0, 20)]), 0);
  assert.equal(slowChecksum([...error!.slice(20)]), 0);
  assert.deepEqual(error!.slice(28), new Uint8Array(buildPacket(lost)));
  const fragment = buildPacket(lost);
  fragment[7] = 5;
  const ping = buildPacket(lost);
  ping[9] = 1;
  const multicast = buildPacket({ ...lost, destination: ip("224.0.0.1") });
  const anonymous = buildPacket({ ...lost, source: new Uint8Array(4) });
  host.kernel.toRead.push(fragment, ping, multicast, anonymous);
  host.outbound.turn();
  assert.equal(host.kernel.written.length, 1);
  assert.equal(host.counted("outNoRoute"), 4);
  assert.equal(host.counted("outMulticast"), 1);
});

Deno.test("no route: ICMPv6 no route to destination into the TUN, and nothing about groups", () => {
  const host = new FakeHost(ALL_OFFLOADS, [NET6.peer]);
  const lost = outgoing(NET6, { destination: NET6.nobodys });
  const group = outgoing(NET6, { destination: ip("ff02::16") });
  host.kernel.toRead.push(plain(buildPacket(lost)), plain(buildPacket(group)));
  host.outbound.turn();
  const [error, ...rest] = host.kernel.written.map((bytes) => bytes.slice(10));
  assert.equal(rest.length, 0);
  assert.deepEqual([...error!.slice(6, 42)], [58, 64, ...NET6.tunnel, ...NET6.own, 1, 0]);
  assert.deepEqual(error!.slice(48), new Uint8Array(buildPacket(lost)));
  assert.deepEqual([host.counted("outNoRoute"), host.counted("outMulticast")], [1, 1]);
});

familyTest("a TTL that is used up on the way out is answered into the TUN", (net) => {
  const host = new FakeHost(ALL_OFFLOADS, [net.peer]);
  host.kernel.toRead.push(plain(buildPacket(outgoing(net, { ttl: 1 }))));
  host.outbound.turn();
  assert.equal(host.kernel.sent.length, 0);
  const error = host.kernel.written[0]!.slice(10);
  assert.deepEqual([...error.slice(net.header, net.header + 2)], net.version === 4 ? [11, 0] : [3, 0]);
  assert.deepEqual(error.slice(net.source, net.source + net.tunnel.length), net.tunnel);
  assert.equal(host.counted("outTtl"), 1);
});

familyTest("a packet that no datagram holds is answered with what one does hold", (net) => {
  const host = new FakeHost(ALL_OFFLOADS, [net.peer]);
  host.kernel.toRead.push(plain(buildPacket(outgoing(net, {}, 65515 - net.header))));
  host.outbound.turn();
  assert.equal(host.kernel.sent.length, 0);
  assert.equal(host.counted("outTooBig"), 1);
  const error = host.kernel.written[0]!.slice(10 + net.header);
  assert.deepEqual([...error.slice(0, 2)], net.version === 4 ? [3, 4] : [2, 0]);
  assert.equal((error[6]! << 8) | error[7]!, 65507);
});

familyTest("ICMP errors are limited: 50 at once, then a thousand a second", (net) => {
  const host = new FakeHost(NO_OFFLOADS, []);
  const flood = () => {
    for (let n = 0; n < 60; n++) host.kernel.toRead.push(buildPacket(outgoing(net)));
    host.outbound.turn();
  };
  flood();
  assert.equal(host.counted("icmpErrors"), 50);
  host.now += 10;
  flood();
  assert.equal(host.counted("icmpErrors"), 60);
});

familyTest("what is of no family of the network, or makes no sense, is dropped and counted", (net) => {
  const only = net.version === 4 ? NET4 : NET6;
  const host = new FakeHost(ALL_OFFLOADS, [net.peer], 2, [only === NET4 ? FAMILY4 : FAMILY6]);
  const other = buildPacket(randomPacket(randomSource(42), 10, { version: net.version === 4 ? 6 : 4 }));
  const short = buildPacket(outgoing(net)).slice(0, 60);
  const badStart = superPacket(outgoing(net, {}, 3000), 1000);
  badStart[6] = 19;
  const badCsum = plain(buildPacket(outgoing(net)));
  badCsum.set([1, 0, 0, 0, 0, 0, 255, 255, 16, 0]);
  host.kernel.toRead.push(
    plain(other),
    plain(buildPacket(outgoing(net)).with(0, 0x55)),
    plain(short),
    badStart,
    badCsum,
    new Uint8Array(9),
    plain(new Uint8Array(0)),
  );
  assert.equal(host.outbound.turn(), 7);
  assert.equal(host.kernel.sent.length, 0);
  assert.equal(host.counted("outWrongFamily"), 2);
  assert.equal(host.counted("outMalformed"), 5);
});
