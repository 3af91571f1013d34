/**
 * Makes the part of the corpus anew that comes from this machine's kernel, iptables, nft, WireGuard and etcd:
 *
 *     unshare -n -m deno run -A tests/fuzz/capture.ts
 *
 * Needs root, and a network namespace of its own: devices and rules are made in it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { GrpcClient } from "../../lib/leases/etcd/grpc.ts";
import { METHODS, WATCH } from "../../lib/leases/etcd/layouts.ts";
import { setSocketOption } from "../../lib/ffi/fd.ts";
import * as c from "../../lib/netlink/constants.ts";
import { filterScript, peerSets } from "../../lib/firewall/peer_filter_text.ts";
import { tableScript } from "../../lib/firewall/nftables_text.ts";
import { HEADER_BYTES, MessageWriter } from "../../lib/netlink/writer.ts";
import { type Message, readMessages } from "../../lib/netlink/reader.ts";
import { type NetlinkRequest, NetlinkSocket } from "../../lib/netlink/socket.ts";
import { NetlinkTransport } from "../../lib/netlink/transport.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { openKernelWireguard } from "../../lib/wireguard/kernel.ts";
import { publicKeyOf } from "../../lib/wireguard/keys.ts";
import type { PeerChange } from "../../lib/wireguard/types.ts";
import { UserspaceWireguard } from "../../lib/wireguard/uapi.ts";
import { Etcd } from "../../scripts/lab/etcd.ts";
import { ipv4Rules } from "../unit/firewall_fixtures.ts";

const CORPUS = new URL("corpus/", import.meta.url);
/** A longer dump is cut after a whole message. */
const MAX_DATAGRAM = 3000;

function keep(target: string, name: string, bytes: Uint8Array | string): void {
  const path = fileURLToPath(new URL(`${target}/${name}`, CORPUS));
  Deno.mkdirSync(dirname(path), { recursive: true });
  Deno.writeFileSync(path, typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
}

function run(program: string, args: readonly string[], stdin?: string): string {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(file, stdin ?? "");
    const command = ["-c", `exec "$0" "$@" < ${file}`, program, ...args];
    const { code, stdout, stderr } = new Deno.Command("sh", { args: command }).outputSync();
    if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
    return new TextDecoder().decode(stdout);
  } finally {
    Deno.removeSync(file);
  }
}

const ip = (command: string) => run("ip", command.split(" "));

function makeHost(): void {
  for (
    const command of [
      "link set lo up",
      "link add eth0 type bridge",
      "link set eth0 up",
      "addr add 172.30.0.2/16 dev eth0",
      "addr add fd00::2/64 dev eth0 nodad",
      "link add veth0 type veth peer name veth1",
      "link set veth0 master eth0 alias test",
      "link set veth0 up",
      "link set veth1 up",
      "link add flannel.1 type vxlan id 1 local 172.30.0.2 dev eth0 dstport 8472 nolearning gbp ttl 4",
      "link add flannel-v6.1 type vxlan id 1 local fd00::2 dev eth0 dstport 8472 nolearning",
      "link set flannel.1 up",
      "link set flannel-v6.1 up",
      "tuntap add mode tun name flannel0",
      "addr add 10.5.1.0/32 dev flannel.1",
      "route add 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink proto 99",
      "route add blackhole 10.5.1.0/24",
      "route add 10.6.0.0/16 nexthop via 172.30.0.3 dev eth0 nexthop via 172.30.0.4 dev eth0",
      "route add 10.7.0.0/16 via inet6 fd00::9 dev eth0",
      "-6 route add fc00:0:0:2::/64 via fd00::3 dev eth0 metric 7",
      "route add 10.8.0.0/16 table 1000 dev eth0",
      "neigh add 10.5.2.0 lladdr 3e:4b:bc:75:ce:43 dev flannel.1 nud permanent",
      "-6 neigh add fd00::7 lladdr 3e:4b:bc:75:ce:44 dev eth0 nud permanent",
      "nexthop add id 7 via 172.30.0.3 dev eth0 protocol 99",
      "nexthop add id 8 via fd00::3 dev eth0",
      "nexthop add id 9 group 7",
      "route add 10.9.0.0/16 nhid 7",
    ]
  ) ip(command);
  run("bridge", "fdb add 3e:4b:bc:75:ce:43 dev flannel.1 dst 172.30.0.3 self permanent".split(" "));
}

/** Whole messages of a dump, as one datagram. */
function dump(type: number, body: readonly number[]): Uint8Array {
  using socket = NetlinkSocket.open();
  const request: NetlinkRequest = {
    describe: () => "dump",
    type,
    flags: 0,
    encode: (writer: MessageWriter) => body.forEach((byte) => writer.u8(byte)),
  };
  const parts: Uint8Array[] = [];
  socket.dump(request, (message) => {
    parts.push(bytesOf(message));
  });
  return join(parts);
}

function bytesOf({ view, start, end }: Message): Uint8Array {
  const bytes = new Uint8Array((end - start + HEADER_BYTES + 3) & ~3);
  bytes.set(new Uint8Array(view.buffer, view.byteOffset + start - HEADER_BYTES, end - start + HEADER_BYTES));
  return bytes;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const kept: number[] = [];
  for (const part of parts) {
    if (kept.length === 0 || kept.length + part.length < MAX_DATAGRAM) kept.push(...part);
  }
  return new Uint8Array(kept);
}

/** What a socket hears while `act` runs. */
function heard(protocol: number, groups: readonly number[], act: () => void): Uint8Array {
  using transport = new NetlinkTransport({ protocol, receiveBufferBytes: 1 << 20 });
  transport.bind();
  for (const group of groups) {
    setSocketOption(transport.fd, c.SOL_NETLINK, c.NETLINK_ADD_MEMBERSHIP, [group], "NETLINK_ADD_MEMBERSHIP");
  }
  act();
  const parts: Uint8Array[] = [];
  while (transport.tryReceive((message) => parts.push(bytesOf(message))));
  return join(parts);
}

/** The kernel's refusal of a request that makes no sense. */
function refusal(): Uint8Array {
  using transport = new NetlinkTransport({ receiveBufferBytes: 1 << 20 });
  transport.bind();
  const writer = new MessageWriter();
  writer.begin(c.RTM_NEWROUTE, c.NLM_F_REQUEST | c.NLM_F_ACK | c.NLM_F_CREATE, 5);
  [2, 24, 0, 0, 254, 99, 0, 1, 0, 0, 0, 0].forEach((byte) => writer.u8(byte));
  writer.attributeIp(c.RTA_DST, parseIp("10.5.9.0"));
  writer.attributeIp(c.RTA_GATEWAY, parseIp("203.0.113.9"));
  writer.end();
  transport.send(writer.written());
  const parts: Uint8Array[] = [];
  transport.receive((message) => parts.push(bytesOf(message)));
  return join(parts);
}

function captureNetlink(): void {
  const nothing = (bytes: number, ...head: number[]) => [...head, ...new Array(bytes - head.length).fill(0)];
  keep("netlink", "links", dump(c.RTM_GETLINK, nothing(16)));
  keep("netlink", "addresses", dump(c.RTM_GETADDR, nothing(8)));
  keep("netlink", "routes-ipv4", dump(c.RTM_GETROUTE, nothing(12, 2)));
  keep("netlink", "routes-ipv6", dump(c.RTM_GETROUTE, nothing(12, 10)));
  keep("netlink", "neighbours", dump(c.RTM_GETNEIGH, nothing(12)));
  keep("netlink", "fdb", dump(c.RTM_GETNEIGH, nothing(12, c.AF_BRIDGE)));
  keep("netlink", "nexthops", dump(c.RTM_GETNEXTHOP, nothing(8)));
  keep("netlink", "refusal", refusal());
  const all = [
    c.RTNLGRP_LINK,
    c.RTNLGRP_NEIGH,
    c.RTNLGRP_IPV4_IFADDR,
    c.RTNLGRP_IPV4_ROUTE,
    c.RTNLGRP_NEXTHOP,
  ];
  keep(
    "netlink",
    "notifications",
    heard(c.NETLINK_ROUTE, all, () => {
      ip("route del 10.5.2.0/24");
      ip("neigh del 10.5.2.0 dev flannel.1");
      ip("nexthop del id 8");
      ip("addr del 10.5.1.0/32 dev flannel.1");
    }),
  );
}

/** Words of iptables, and what stands in the place of COMMENT. */
const RULES_OF_OTHERS: readonly (readonly [words: string, comment?: string])[] = [
  ["-N DOCKER-USER"],
  ["-N FLANNEL-FWD"],
  ["-P FORWARD DROP"],
  ["-A FORWARD -m comment --comment COMMENT -j FLANNEL-FWD", "flanneld forward"],
  ["-A DOCKER-USER -s 10.5.0.0/16 -m mark --mark 0x4000/0x4000 -j ACCEPT"],
  ["-A DOCKER-USER ! -d 10.5.0.0/16 -m comment --comment COMMENT -j RETURN", 'a "b" \\ c'],
  ["-t nat -A POSTROUTING -s 10.5.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE"],
];

function captureFirewall(): void {
  const rules = ipv4Rules(["10.0.0.0/8"]);
  const tunnel = { udpPorts: [8472], vni: 1 };
  run("nft", ["-f", "-"], tableScript("flannel-ipv4", rules, true));
  keep("nft-json", "table", run("nft", ["-j", "list", "table", "ip", "flannel-ipv4"]));
  const peers = peerSets([parseIp("172.30.0.3"), parseIp("fd00::3")]);
  run("nft", ["-f", "-"], filterScript("flannel-peers", tunnel, peers));
  keep("nft-json", "peer-filter", run("nft", ["-j", "list", "table", "inet", "flannel-peers"]));
  for (const [words, comment] of RULES_OF_OTHERS) {
    run("iptables-nft", words.split(" ").map((word) => word === "COMMENT" ? comment! : word));
  }
  keep("nft-json", "filter", run("nft", ["-j", "list", "table", "ip", "filter"]));
  keep("iptables-save", "saved", run("iptables-nft-save", []));
  const removed = heard(12, [7], () => {
    run("nft", ["delete", "table", "ip", "flannel-ipv4"]);
    run("nft", ["flush", "table", "ip", "filter"]);
  });
  keep("netlink", "nftables", removed);
}

async function captureEtcd(): Promise<void> {
  await using etcd = await Etcd.start();
  const prefix = "/coreos.com/network";
  const client = new GrpcClient({ url: etcd.endpoint, target: etcd.endpoint.slice(7), secure: false }, {});
  const limits = { deadlineMs: 5000, connectMs: 5000 };
  const value =
    '{"PublicIP":"172.30.0.2","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"3e:4b:bc:75:ce:43"}}';
  const put = (key: string, text: string) =>
    client.unary(METHODS["KV.put"], { key: Buffer.from(prefix + key), value: Buffer.from(text) }, {}, limits);
  await put("/config", '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}');
  await put("/subnets/10.5.88.0-24", value);
  await put("/subnets/10.5.89.0-24&fc00:0:0:1::-64", value);
  const range = { key: Buffer.from(`${prefix}/`), range_end: Buffer.from(`${prefix}0`) };
  const read = METHODS["KV.range"];
  for (const [name, request] of Object.entries({ leases: range, nothing: { key: Buffer.from("x") } })) {
    keep("etcd-range", name, read.response.encode(await client.unary(read, request, {}, limits)));
  }
  const stream = await client.stream(WATCH, {}, limits);
  stream.write({
    create_request: { ...range, start_revision: "2", progress_notify: false, fragment: false },
  });
  let number = 0;
  for await (const answer of stream) {
    keep("etcd-watch", `answer-${number++}`, WATCH.response.encode(answer));
    if (answer.events.length > 0) break;
  }
  stream.cancel();
  client.close();
}

/** A device of wireguard-go with two peers, one of which has said nothing yet. */
async function captureWireguard(): Promise<void> {
  run("mount", ["-t", "tmpfs", "none", "/var/run/wireguard"]);
  const process = new Deno.Command("wireguard-go", { args: ["-f", "wg0"], stdout: "null", stderr: "null" })
    .spawn();
  try {
    const key = run("wg", ["genkey"]).trim();
    const socket = "/var/run/wireguard/wg0.sock";
    for (let tries = 0; tries < 100; tries++) {
      if (await Deno.stat(socket).then(() => true, () => false)) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const control = new UserspaceWireguard();
    await control.configure("wg0", { privateKey: key, listenPort: 51820 });
    const peer = (last: number, extra: object) => ({
      verb: "set" as const,
      greet: false,
      peer: {
        publicKey: publicKeyOf(run("wg", ["genkey"]).trim()),
        keepalive: last,
        allowedIps: [],
        ...extra,
      },
    });
    const allowedIps = [parsePrefix("10.5.2.0/24"), parsePrefix("fc00:0:0:2::/64")];
    const changes = [
      peer(25, { allowedIps, endpoint: { ip: parseIp("172.30.0.3"), port: 51820 }, presharedKey: key }),
      peer(0, { endpoint: { ip: parseIp("fd00::3"), port: 51821 } }),
    ];
    await control.apply("wg0", changes);
    using connection = await Deno.connect({ transport: "unix", path: socket });
    await connection.write(new TextEncoder().encode("get=1\n\n"));
    const buffer = new Uint8Array(8192);
    const count = await connection.read(buffer);
    keep("wireguard-text", "device", buffer.slice(0, count ?? 0));
    keep("wireguard-netlink", "device", kernelDevice(changes));
  } finally {
    process.kill();
    await process.status;
    run("umount", ["/var/run/wireguard"]);
  }
}

/** This kernel has no WireGuard: a request to set peers has the attributes of the answer that shows them. */
function kernelDevice(changes: readonly PeerChange[]): Uint8Array {
  const writer = new MessageWriter();
  const write = (request: NetlinkRequest) => {
    writer.begin(request.type, request.flags, 1);
    request.encode(writer);
    writer.end();
  };
  const socket = {
    query: () => 30,
    batch: (requests: readonly NetlinkRequest[]) => (requests.forEach(write), []),
  };
  const control = openKernelWireguard(socket as unknown as NetlinkSocket)!;
  control.apply("wg0", changes);
  return writer.written().slice();
}

/** Only to be sure that what is kept can be read. */
function check(bytes: Uint8Array): void {
  const copy = bytes.slice();
  readMessages(new DataView(copy.buffer as ArrayBuffer), copy.length, () => {});
}

makeHost();
captureNetlink();
captureFirewall();
for (const name of ["links", "routes-ipv4"]) check(Deno.readFileSync(new URL(`netlink/${name}`, CORPUS)));
await captureWireguard();
await captureEtcd();
