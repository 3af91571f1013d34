import assert from "node:assert/strict";
import {
  differenceScript,
  droppedCount,
  filterScript,
  filterSignature,
  listedElements,
  peerSets,
} from "../../lib/firewall/peer_filter_text.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { checkTunnel } from "../../lib/net/tunnel.ts";

Deno.test("peer filter: the table is one transaction, the drop is its last word", () => {
  const peers = peerSets(["172.30.0.2", "172.30.0.3", "fd00::2", "172.30.0.2"].map(parseIp), [8472]);
  assert.equal(
    filterScript("flannel-peers", { udpPorts: [8472], vni: 1 }, peers),
    `\
add table inet flannel-peers
delete table inet flannel-peers
add table inet flannel-peers
add counter inet flannel-peers dropped
add set inet flannel-peers peers4 { type ipv4_addr; }
add set inet flannel-peers peers6 { type ipv6_addr; }
add set inet flannel-peers ports { type inet_service; }
add chain inet flannel-peers input { type filter hook input priority filter - 10; policy accept; }
add rule inet flannel-peers input udp dport 8472 ip saddr @peers4 return
add rule inet flannel-peers input udp dport 8472 ip6 saddr @peers6 return
add rule inet flannel-peers input udp dport 8472 @th,96,24 != 1 return
add rule inet flannel-peers input udp dport 8472 counter name dropped drop
add chain inet flannel-peers forward { type filter hook forward priority filter - 10; policy accept; }
add rule inet flannel-peers forward meta l4proto != udp return
add rule inet flannel-peers forward udp dport != @ports return
add rule inet flannel-peers forward udp dport @ports @th,96,24 != 1 return
add rule inet flannel-peers forward ip saddr @peers4 return
add rule inet flannel-peers forward ip6 saddr @peers6 return
add rule inet flannel-peers forward udp dport @ports ip daddr @peers4 counter name dropped drop
add rule inet flannel-peers forward udp dport @ports ip6 daddr @peers6 counter name dropped drop
add element inet flannel-peers peers4 { 172.30.0.2, 172.30.0.3 }
add element inet flannel-peers peers6 { fd00::2 }
add element inet flannel-peers ports { 8472 }
`,
  );
});

Deno.test("peer filter: tunnels without a VNI, of several ports, and directly over IP", () => {
  const rules = (tunnel: Parameters<typeof filterScript>[1]) =>
    filterScript("t", tunnel, peerSets([])).split("\n").filter((line) => line.startsWith("add rule"));
  assert.doesNotMatch(rules({ udpPorts: [8285] }).join(), /@th/);
  assert.equal(
    rules({ udpPorts: [51820, 51821] })[0],
    "add rule inet t input udp dport { 51820, 51821 } ip saddr @peers4 return",
  );
  assert.deepEqual(rules({ ipProtocol: 4 }), [
    "add rule inet t input meta l4proto 4 ip saddr @peers4 return",
    "add rule inet t input meta l4proto 4 ip6 saddr @peers6 return",
    "add rule inet t input meta l4proto 4 counter name dropped drop",
    "add rule inet t forward meta l4proto != 4 return",
    "add rule inet t forward ip saddr @peers4 return",
    "add rule inet t forward ip6 saddr @peers6 return",
    "add rule inet t forward meta l4proto 4 ip daddr @peers4 counter name dropped drop",
    "add rule inet t forward meta l4proto 4 ip6 daddr @peers6 counter name dropped drop",
  ]);
});

Deno.test("peer filter: a tunnel's numbers are checked", () => {
  for (const tunnel of [{ udpPorts: [1, 65535] }, { ipProtocol: 4 }]) checkTunnel(tunnel);
  for (
    const tunnel of [{ udpPorts: [] }, { udpPorts: [8472, 0] }, { udpPorts: [65536] }, { udpPorts: [1.5] }]
  ) {
    assert.throws(() => checkTunnel(tunnel), /^RangeError: A tunnel's port must be 1 to 65535/);
  }
  assert.throws(
    () => checkTunnel({ ipProtocol: 256 }),
    /^RangeError: A tunnel's IP protocol must be 0 to 255: got 256/,
  );
});

Deno.test("peer filter: a change of peers is written as the difference", () => {
  const before = peerSets(["172.30.0.2", "172.30.0.3"].map(parseIp), [8285]);
  const after = peerSets(["172.30.0.3", "172.30.0.4", "fd00::2"].map(parseIp), [8286, 8285]);
  assert.equal(
    differenceScript("t", before, after),
    "add element inet t peers4 { 172.30.0.4 }\nadd element inet t peers6 { fd00::2 }\n" +
      "add element inet t ports { 8286 }\ndelete element inet t peers4 { 172.30.0.2 }\n",
  );
  assert.equal(
    differenceScript(
      "t",
      after,
      peerSets(["fd00::2", "172.30.0.4", "172.30.0.3"].map(parseIp), [8285, 8286]),
    ),
    "",
  );
});

Deno.test("peer filter: counts don't change its signature, anything else does", () => {
  const print = (packets: number, more: unknown[] = [], elem: unknown[] = ["172.30.0.2"]) =>
    JSON.stringify({
      nftables: [
        { metainfo: { version: "1.0.6" } },
        { counter: { name: "dropped", table: "t", packets, bytes: packets * 60 } },
        { set: { name: "peers4", table: "t", type: "ipv4_addr", elem } },
        { set: { name: "ports", table: "t", type: "inet_service", elem: [8472] } },
        ...more,
      ],
    });
  assert.equal(filterSignature(print(0)), filterSignature(print(7)));
  assert.notEqual(filterSignature(print(0)), filterSignature(print(0, [{ chain: { name: "input" } }])));
  assert.equal(droppedCount(print(7)), 7);
  assert.deepEqual(listedElements(print(0)), peerSets([parseIp("172.30.0.2")], [8472]));
  // They ended every pass with a SyntaxError of the address, and nothing was repaired any more.
  for (const extra of [{ comment: "x" }, { timeout: 60, expires: 59 }]) {
    assert.equal(listedElements(print(0, [], [{ elem: { val: "172.30.0.2", ...extra } }])), undefined);
  }
  assert.equal(listedElements(print(0, [], [{ prefix: { addr: "172.30.0.0", len: 24 } }])), undefined);
});
