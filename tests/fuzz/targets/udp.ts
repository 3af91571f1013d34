/**
 * The udp backend's two directions on a scripted kernel: what comes from the network, and what comes from the TUN.
 *
 * @module
 */
import { ALL_OFFLOADS, FakeHost } from "../../unit/udp_fake_io.ts";
import { NET4, NET6 } from "../../unit/udp_packets.ts";
import { allocatePacketMemory } from "../../../lib/packet/memory.ts";
import { IP_OK, IpHeader } from "../../../lib/packet/headers.ts";
import { VNET_HEADER } from "../../../lib/packet/virtio.ts";
import { type FuzzOne, type FuzzTarget, property } from "../target.ts";

/** One message or packet at most, in bytes. */
const MAX_LENGTH = 4096;

const WORDS = [
  "E\0\0",
  "`\0\0\0",
  "\x11@",
  "\x06@",
  "\x0a\x05\x01\x02",
  "\x0a\x05\x02\x02",
  "\x0a\x05\x03\x09",
  "\x01\x01",
];

export const UDP_TARGETS: readonly FuzzTarget[] = [
  {
    name: "udp-inbound",
    what: "datagrams that come to the udp backend: who sends, the segment size, the bytes",
    errors: [],
    dictionary: WORDS,
    maxLength: MAX_LENGTH,
    cost: 3,
    open: openInbound,
  },
  {
    name: "udp-outbound",
    what: "packets that a TUN gives to the udp backend",
    errors: [],
    dictionary: WORDS,
    maxLength: MAX_LENGTH,
    cost: 3,
    open: openOutbound,
  },
];

const scratch = allocatePacketMemory(1 << 17);
const header = new IpHeader();

/** Whether the bytes are one whole IP packet. */
function isPacket(bytes: Uint8Array): boolean {
  scratch.u8.set(bytes);
  return header.read(scratch, 0, bytes.length) === IP_OK;
}

/** The first bytes say who sends and how the message is cut; the rest is the message. */
function openInbound(): FuzzOne {
  const host = new FakeHost(ALL_OFFLOADS, [NET4.peer, NET4.other, NET6.peer, NET6.other]);
  const senders = [NET4.peer, NET4.other, NET6.peer, NET6.other, { ...NET4.peer, address: NET4.stranger }];
  return (input) => {
    if (input.length < 3) return;
    const { address, port } = senders[input[0]! % senders.length]!;
    const segment = (input[1]! << 8 | input[2]!) % 1500;
    host.now += 1000;
    host.kernel.toReceive.push({
      address,
      port,
      bytes: input.subarray(3),
      ...segment > 0 ? { segment } : {},
    });
    host.receive();
    const { written, sent } = host.kernel;
    for (const bytes of written) {
      const packet = bytes.subarray(VNET_HEADER);
      property(isPacket(packet), "what is written to the TUN isn't a packet");
      const isOwn = packet[0]! >>> 4 === 4
        ? packet[16] === 10 && packet[17] === 5 && packet[18] === 1
        : packet[24] === 0xfc && packet[31] === 1;
      property(isOwn, "a packet for another host is written to the TUN");
    }
    for (const { bytes } of sent) property(isPacket(bytes), "an answer that isn't a packet");
    property(
      written.reduce((sum, { length }) => sum + length, 0) <= MAX_LENGTH + 64 * input.length,
      "more than came",
    );
    written.length = sent.length = 0;
  };
}

function openOutbound(): FuzzOne {
  const host = new FakeHost(ALL_OFFLOADS, [NET4.peer, NET4.other, NET6.peer, NET6.other]);
  const peers = new Set([NET4.peer, NET4.other, NET6.peer, NET6.other].map(({ address }) => address));
  return (input) => {
    if (input.length === 0) return;
    host.now += 1000;
    host.kernel.toRead.push(input);
    host.outbound.turn();
    for (const { address, bytes, segment } of host.kernel.sent) {
      property(peers.has(address), `a packet to ${address}`);
      property(segment > 0 || isPacket(bytes), "what is sent isn't a packet");
      property(bytes.length <= 65507, `a datagram of ${bytes.length} bytes`);
    }
    for (const bytes of host.kernel.written) {
      property(isPacket(bytes.subarray(VNET_HEADER)), "what is written to the TUN isn't a packet");
    }
    host.kernel.sent.length = host.kernel.written.length = 0;
  };
}
