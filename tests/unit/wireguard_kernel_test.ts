/** WireGuard's generic netlink against what a kernel and wg(8) said. */
import assert from "node:assert/strict";
import { findGenericFamily } from "../../lib/netlink/generic.ts";
import type { Message } from "../../lib/netlink/reader.ts";
import { readMessages } from "../../lib/netlink/reader.ts";
import type { NetlinkRequest, NetlinkSocket } from "../../lib/netlink/socket.ts";
import { MessageWriter } from "../../lib/netlink/writer.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { formatPrefix, parsePrefix } from "../../lib/net/prefix.ts";
import { openKernelWireguard } from "../../lib/wireguard/kernel.ts";
import { formatEndpoint, type WireguardControl, type WireguardPeer } from "../../lib/wireguard/types.ts";
import * as recorded from "./wireguard_recorded.ts";

const NLM_F_REQUEST = 1, NLM_F_ACK = 4, NLM_F_DUMP = 0x300;
const GENLMSGHDR_BYTES = 4, NLMSGHDR_BYTES = 16, NLMSG_DONE = 3;

function toHex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g)!, (byte) => parseInt(byte, 16));
}

function messages(bytes: Uint8Array<ArrayBuffer>): Message[] {
  const found: Message[] = [];
  readMessages(new DataView(bytes.buffer), bytes.length, (message) => found.push(message));
  return found;
}

/** Key number `n` of the record. */
function key(n: number): string {
  return btoa(String.fromCharCode(n * 8, ...Array.from({ length: 30 }, () => n), 0x40 + n));
}

async function unzip(base64: string): Promise<Uint8Array<ArrayBuffer>> {
  const zipped = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A socket that answers from the record, and keeps what it is asked. */
async function recordedSocket(): Promise<{ socket: NetlinkSocket; sent: string[] }> {
  const dump = await unzip(recorded.DUMP_GZIP);
  const sent: string[] = [];
  const send = (request: NetlinkRequest, flags: number, sequence = 1) => {
    const writer = new MessageWriter(16);
    writer.begin(request.type, request.flags | NLM_F_REQUEST | flags, sequence);
    request.encode(writer);
    writer.end();
    sent.push(toHex(writer.written()));
  };
  const socket = {
    query(request: NetlinkRequest, parse: (message: Message) => unknown) {
      send(request, NLM_F_ACK);
      return parse(messages(fromHex(recorded.FAMILY_ANSWER))[0]!);
    },
    execute: (request: NetlinkRequest) => send(request, NLM_F_ACK, 2),
    batch(requests: readonly NetlinkRequest[]) {
      for (const request of requests) send(request, NLM_F_ACK, 6);
      return [];
    },
    dump(request: NetlinkRequest, parse: (message: Message) => unknown) {
      send(request, NLM_F_DUMP);
      return messages(dump).filter(({ type }) => type !== NLMSG_DONE).map(parse);
    },
  };
  return { socket: socket as unknown as NetlinkSocket, sent };
}

async function open(): Promise<{ control: WireguardControl; sent: string[] }> {
  const { socket, sent } = await recordedSocket();
  const control = openKernelWireguard(socket);
  assert.ok(control);
  return { control, sent };
}

const PEERS: readonly WireguardPeer[] = [
  {
    ...{ publicKey: key(2), presharedKey: key(9), keepalive: 25 },
    endpoint: { ip: parseIp("172.30.0.2"), port: 51820 },
    allowedIps: ["10.5.2.0/24", "fc00:0:0:2::/64"].map(parsePrefix),
  },
  {
    ...{ publicKey: key(3), keepalive: 0 },
    endpoint: { ip: parseIp("fd00:30::3"), port: 51821 },
    allowedIps: [parsePrefix("10.5.3.0/24")],
  },
];

Deno.test("wireguard netlink: the family's number is asked for and read as the kernel has it", async () => {
  const { socket, sent } = await recordedSocket();
  assert.equal(findGenericFamily(socket, "wireguard"), 0x20);
  assert.deepEqual(sent, [recorded.FAMILY_REQUEST]);
});

Deno.test("wireguard netlink: requests that a kernel accepted, byte for byte", async () => {
  const { control, sent } = await open();
  await control.configure("vmrec0", { privateKey: key(1), listenPort: 51820 });
  await control.apply("vmrec0", [{ verb: "remove", publicKey: key(7) }]);
  await control.read("vmrec0");
  assert.deepEqual(sent.slice(1), [recorded.CONFIGURE, recorded.REMOVE, recorded.READ]);
});

Deno.test("wireguard netlink: a peer is the bytes that wg sends for it", async () => {
  const { control, sent } = await open();
  await control.apply("vmrec1", PEERS.map((peer) => ({ verb: "set", peer })));
  const own = sent.slice(1).map((hex) => entries(fromHex(hex).subarray(NLMSGHDR_BYTES)));
  const [first, second] = entries(fromHex(recorded.WG_SET));
  assert.deepEqual(own[0], [first]);
  // We say "no pre-shared key" where wg says nothing: an old one must go.
  const zeros = `24000200${"00".repeat(32)}`;
  assert.ok(own[1]![0]!.includes(zeros));
  assert.deepEqual(own[1]!.map((entry) => entry.replace(zeros, "").slice(4)), [second!.slice(4)]);
});

/** The elements of the list of peers (attribute 8) in a payload, each as hexadecimal. */
function entries(payload: Uint8Array): string[] {
  const found: string[] = [];
  const walk = (from: number, to: number, visit: (type: number, start: number, end: number) => void) => {
    for (let at = from; at + 4 <= to;) {
      const length = payload[at]! | payload[at + 1]! << 8;
      visit((payload[at + 2]! | payload[at + 3]! << 8) & 0x3fff, at, at + length);
      at += (length + 3) & ~3;
    }
  };
  walk(GENLMSGHDR_BYTES, payload.length, (type, start, end) => {
    if (type !== 8) return;
    walk(start + 4, end, (_, from, to) => found.push(toHex(payload.subarray(from, to))));
  });
  return found;
}

Deno.test("wireguard netlink: a dump of three messages with a peer that goes through all of them", async () => {
  const { control } = await open();
  const device = await control.read("vmrec0");
  assert.equal(device.publicKey, "D9FqM+RcjI/DFGLMV88ue9+Zfl+p07/HMfMSA5h1FjM=");
  assert.equal(device.listenPort, 51820);
  const counters = { lastHandshake: 0, receivedBytes: 0, sentBytes: 0 };
  const [two, three, many, byHand, ...more] = device.peers;
  assert.deepEqual([two, three], PEERS.map((peer) => ({ ...peer, ...counters })));
  const subnets = Array.from({ length: 330 }, (_, i) => `10.${6 + (i >> 8)}.${i & 255}.0/24`);
  assert.equal(many!.publicKey, key(4));
  assert.deepEqual(many!.allowedIps.map(formatPrefix), subnets);
  // `wg set … endpoint [fe80::5%lo]:7`: sin6_scope_id says through which interface.
  assert.equal(formatEndpoint(byHand!.endpoint!), "[fe80::5]:7");
  assert.deepEqual(byHand!.allowedIps.map(formatPrefix), ["10.5.5.0/24"]);
  assert.deepEqual(more, []);
});
