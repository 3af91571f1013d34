/**
 * What fuzzing has found: each test names its bug. The inputs stand in tests/fuzz/corpus, too.
 */
import assert from "node:assert/strict";
import { AliMetadata } from "../../backends/ali_vpc/metadata.ts";
import { Vpc } from "../../backends/ali_vpc/vpc.ts";
import { PageCount } from "../../backends/cloud/pages.ts";
import { CloudError } from "../../backends/cloud/errors.ts";
import { parseKeptLease } from "../../lib/daemon/lease_file.ts";
import { cutsForwarding, droppingChains } from "../../lib/firewall/foreign_chains.ts";
import { planFilterTable } from "../../lib/firewall/nftables_filter_table.ts";
import { AccessError } from "../../lib/kube/access.ts";
import { accessFrom } from "../../lib/kube/kubeconfig.ts";
import { decodeLeaseKey } from "../../lib/leases/codec.ts";
import { CallError } from "../../lib/leases/etcd/faults.ts";
import type { WatchResponse } from "../../lib/leases/etcd/messages.ts";
import { WatchCursor } from "../../lib/leases/etcd/watch.ts";
import { decodeAddress } from "../../lib/netlink/address.ts";
import { MalformedMessageError, readMessages } from "../../lib/netlink/reader.ts";
import { decodeRoute } from "../../lib/netlink/route.ts";
import { MessageWriter } from "../../lib/netlink/writer.ts";
import { IPV4 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { readDevicePart } from "../../lib/wireguard/kernel.ts";
import { parseDevice, UapiError } from "../../lib/wireguard/uapi.ts";
import { ipv4Rules, NAMES } from "./firewall_fixtures.ts";
import { ALL_OFFLOADS, FakeHost } from "./udp_fake_io.ts";
import { NET4, NET6, outgoing } from "./udp_packets.ts";
import { buildPacket } from "./udp_reference.ts";

/** The one message that is written. */
function messageOf(type: number, write: (writer: MessageWriter) => void): Parameters<typeof decodeRoute>[0] {
  const writer = new MessageWriter();
  writer.begin(type, 0, 1);
  write(writer);
  writer.end();
  const bytes = writer.written().slice();
  const found: Parameters<typeof decodeRoute>[0][] = [];
  readMessages(new DataView(bytes.buffer), bytes.length, (message) => found.push(message));
  return found[0]!;
}

const kubeconfig = (
  user: unknown,
  contexts: unknown = [{ name: "a", context: { cluster: "c", user: "u" } }],
) =>
  JSON.stringify({
    "current-context": "a",
    clusters: [{ name: "c", cluster: { server: "https://10.0.0.1:6443" } }],
    contexts,
    users: [{ name: "u", user }],
  });

Deno.test("etcd: a watch answer without a header, or an event without its key, ends the stream and not the daemon", () => {
  const answer = { compact_revision: "0", canceled: false, created: false, fragment: false };
  const noHeader = { ...answer, header: null, events: [] } as unknown as WatchResponse;
  assert.throws(() => new WatchCursor(1n).take(noHeader), CallError);
  const header = { cluster_id: "1", revision: "2", raft_term: "1" };
  const noKey = { ...answer, header, events: [{ type: "Put", kv: null }] } as unknown as WatchResponse;
  assert.throws(() => new WatchCursor(1n).take(noKey), CallError);
});

Deno.test("kubeconfig: an empty entry in a list, and text that YAML reads as a number, are named", async () => {
  const read = (text: string) => accessFrom(text, "config");
  await assert.rejects(read(kubeconfig({}, [null])), AccessError);
  await assert.rejects(read(kubeconfig({}, "a")), AccessError);
  await assert.rejects(
    read(kubeconfig({ token: 12345 })),
    new AccessError("kubeconfig config: in user u: token must be text, put it in quotes"),
  );
  await assert.rejects(read(kubeconfig({ tokenFile: 5 })), AccessError);
});

Deno.test("kubeconfig: a user name beyond Latin-1 is sent as UTF-8", async () => {
  const access = await accessFrom(kubeconfig({ username: "Łódź", password: "ß" }), "config");
  const header = await access.authorization(undefined);
  const sent = Uint8Array.from(atob(header!.replace("Basic ", "")), (character) => character.charCodeAt(0));
  assert.equal(new TextDecoder().decode(sent), "Łódź:ß");
});

Deno.test("kubeconfig: YAML's warnings don't quote the file on stderr", async () => {
  const warned: unknown[] = [];
  const listen = (warning: unknown) => warned.push(warning);
  const process = (await import("node:process")).default;
  process.on("warning", listen);
  try {
    await assert.rejects(accessFrom("users: !secret-token abc\n", "config"), AccessError);
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.deepEqual(warned, []);
  } finally {
    process.removeListener("warning", listen);
  }
});

Deno.test("nft: statements that it prints as text, and rules without expressions, are foreign rules", () => {
  const chain = { family: "ip", table: "filter", name: "FORWARD", hook: "forward", policy: "drop" };
  const rule = {
    family: "ip",
    table: "filter",
    chain: "FORWARD",
    handle: 4,
    expr: ['osf name "Linux"', { drop: null }],
  };
  const listing = JSON.stringify({
    nftables: [{ chain }, { rule }, { rule: { ...rule, expr: undefined } }, null],
  });
  assert.equal(cutsForwarding(listing), true);
  assert.deepEqual(droppingChains(listing), []);
  assert.ok(planFilterTable(listing, IPV4, ipv4Rules().forward, NAMES.forwardChain).length > 0);
});

Deno.test("nft: a rule without a handle is in no command", () => {
  const chain = { family: "ip", table: "filter", name: "FORWARD", hook: "forward", policy: "drop" };
  const rule = { chain: "FORWARD", expr: [{ jump: { target: NAMES.forwardChain } }] };
  const listing = JSON.stringify({ nftables: [{ chain }, { rule }] });
  const lines = planFilterTable(listing, IPV4, ipv4Rules().forward, NAMES.forwardChain).flatMap((change) =>
    change.lines
  );
  assert.ok(lines.every((line) => !line.includes("undefined")), lines.join("\n"));
});

Deno.test("clouds: a list whose pages never end is given up", () => {
  const pages = new PageCount("the list of routes");
  for (let i = 0; i < 100; i++) pages.next();
  assert.throws(
    () => pages.next(),
    new CloudError("unavailable", "the list of routes has more than 100 pages"),
  );
});

Deno.test("ali-vpc: a list of tables whose total is never reached is given up; it was asked for until the pass ended", async () => {
  let asked = 0;
  const answer = {
    TotalCount: 2 ** 64,
    RouterTableList: { RouterTableListType: [{ RouteTableId: "vtb-1" }] },
  };
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    asked++;
    return Response.json(answer);
  });
  const env: Record<string, string> = {
    ALIBABA_CLOUD_VPC_ENDPOINT: `http://127.0.0.1:${server.addr.port}`,
  };
  const vpc = new Vpc("cn-beijing", {
    options: { keys: { id: "id", secret: "secret" }, routeTableIds: [] },
    env: (name) => env[name],
    metadata: new AliMetadata("http://127.0.0.1:1", Date.now),
    now: Date.now,
  });
  await assert.rejects(vpc.tables("vpc-1", AbortSignal.timeout(20_000)), CloudError);
  assert.equal(asked, 100);
});

Deno.test("udp: a checksum that is to be written into the IP header drops the packet", () => {
  for (const net of [NET4, NET6]) {
    const host = new FakeHost(ALL_OFFLOADS, [net.peer]);
    const needsChecksum = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    host.kernel.toRead.push(new Uint8Array([...needsChecksum, ...buildPacket(outgoing(net))]));
    host.outbound.turn();
    assert.deepEqual(host.kernel.sent, []);
    assert.equal(host.counted("outMalformed"), 1);
  }
});

Deno.test("lease key: a length with leading zeros isn't another key of the same subnet", () => {
  assert.equal(decodeLeaseKey("10.5.88.0-024"), undefined);
  assert.ok(decodeLeaseKey("10.5.88.0-24"));
});

Deno.test("lease file: former values are kept; what isn't text isn't one", () => {
  const text = JSON.stringify({ key: "10.5.1.0-24", value: "{}", former: ["{1}", 2, null, "{3}"] });
  assert.deepEqual(parseKeptLease(text), { key: "10.5.1.0-24", value: "{}", former: ["{1}", "{3}"] });
});

Deno.test("lease file: JSON that isn't an object is no lease", () => {
  for (const text of ["null", "5", "[]", '{"key":1,"value":"x"}']) {
    assert.equal(parseKeptLease(text), undefined);
  }
});

Deno.test("netlink: a prefix that is longer than an address is malformed", () => {
  const address = messageOf(20, (writer) => {
    [2, 33, 0, 0, 1, 0, 0, 0].forEach((byte) => writer.u8(byte));
    writer.attributeIp(2, parseIp("10.5.1.0"));
  });
  assert.throws(() => decodeAddress(address), MalformedMessageError);
  const route = messageOf(
    24,
    (writer) => [10, 129, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0].forEach((byte) => writer.u8(byte)),
  );
  assert.throws(() => decodeRoute(route), MalformedMessageError);
  const mixed = messageOf(24, (writer) => {
    [10, 64, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0].forEach((byte) => writer.u8(byte));
    writer.attributeIp(1, parseIp("10.5.1.0"));
  });
  assert.throws(() => decodeRoute(mixed), MalformedMessageError);
});

Deno.test("wireguard: a peer without a key, and an allowed IP without an address, are malformed", () => {
  const device = (write: (writer: MessageWriter) => void) =>
    messageOf(30, (writer) => {
      writer.u32(0);
      writer.nested(8, () => writer.nested(0, () => write(writer)));
    });
  assert.throws(() => readDevicePart(device((writer) => writer.attributeU16(5, 25))), MalformedMessageError);
  const noAddress = device((writer) => {
    writer.attributeBytes(1, new Uint8Array(32));
    writer.nested(9, () => writer.nested(0, () => writer.attributeU8(3, 24)));
  });
  assert.throws(() => readDevicePart(noAddress), MalformedMessageError);
});

Deno.test("wireguard: numbers, keys and prefixes of a user-space device are checked, and no key is quoted", () => {
  const read = (line: string) => parseDevice(`public_key=${"0".repeat(64)}\n${line}\nerrno=0\n\n`);
  for (const line of ["listen_port=70000", "rx_bytes=many", "allowed_ip=10.0.0.0/33", "tx_bytes=-1"]) {
    assert.throws(() => read(line), UapiError, line);
  }
  const secret = "ab".repeat(20);
  assert.throws(() => read(`preshared_key=${secret}`), (error: Error) => !error.message.includes(secret));
  assert.throws(() => parseDevice("hello"), UapiError);
});
