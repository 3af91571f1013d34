import assert from "node:assert/strict";
import { duration } from "../../lib/cli/durations.ts";
import { statusText } from "../../lib/cli/status_text.ts";
import { PLAIN } from "../../lib/cli/terminal.ts";
import { tableLines } from "../../lib/cli/text_table.ts";
import type { PeerStatus, PeerTable, StatusDocument } from "../../lib/status/document.ts";

const NOW = "2026-11-21T12:00:00.000Z";

function row(number: number, changes: Partial<PeerStatus> = {}): PeerStatus {
  return {
    key: `10.5.${number}.0-24`,
    host: `host-${number}`,
    subnets: [`10.5.${number}.0/24`],
    publicIps: [`172.30.0.${number}`],
    backendType: "vxlan",
    paths: ["vxlan"],
    changedAt: null,
    problem: null,
    ...changes,
  };
}

function table(changes: Partial<PeerTable>): PeerTable {
  return { paths: { vxlan: 2 }, withProblem: 0, probed: 0, rows: [], omitted: 0, ...changes };
}

function status(peers: PeerTable, changes: Partial<StatusDocument> = {}): StatusDocument {
  return {
    schemaVersion: 1,
    version: "0.1.0",
    time: NOW,
    startedAt: "2026-11-21T09:00:00.000Z",
    host: { name: "host-1" },
    ready: true,
    notReady: [],
    problems: [],
    config: { Network: "10.5.0.0/16", Backend: { Type: "vxlan" } },
    configInUse: true,
    lease: {
      ...{ key: "10.5.1.0-24", subnets: ["10.5.1.0/24"], value: "{}", reservation: false },
      ...{ secondsLeft: 82_800, renewedAt: "2026-11-21T11:00:00.000Z" },
    },
    subnetFile: "/run/flannel/subnet.env",
    mtu: 1450,
    interface: { name: "eth0", index: 2, mtu: 1500, addresses: ["172.30.0.1"], publicIps: ["172.30.0.1"] },
    store: {
      ...{
        description: "etcd http://172.30.0.254:2379",
        connected: true,
        forSeconds: 10_800,
        revision: "42",
      },
      ...{ resyncs: 0, lastError: null },
    },
    peers: { count: table.length, malformed: 0, refused: [], problems: [], table: peers },
    kernel: { links: ["flannel.1"], entries: 6, nexthops: 0, failures: [], problem: null },
    firewall: "nftables",
    ...changes,
  };
}

const SMALL = table({
  paths: { vxlan: 1, direct: 1 },
  withProblem: 1,
  rows: [
    row(2, { paths: ["direct"], probe: { at: NOW, rttMs: 0.234, loss: 0 } }),
    row(9, { changedAt: "2026-11-21T11:58:00.000Z", probe: { at: NOW, rttMs: 12.34, loss: 0.25 } }),
    row(10, { host: "", paths: [], problem: "its lease has no usable VtepMAC for IPv4", probe: null }),
  ],
});

const lines = (document: StatusDocument, width: number) =>
  statusText(document, { width, style: PLAIN }).split("\n");

Deno.test("status text: a host that is well, at 200 columns", () => {
  const document = status(SMALL);
  assert.deepEqual(lines({ ...document, peers: { ...document.peers!, count: 3 } }, 200), [
    "host-1 is ready",
    "",
    "  lease     10.5.1.0/24, vxlan, MTU 1450",
    "            expires in 23h, renewed 60m ago",
    "  interface eth0, 172.30.0.1",
    "  store     etcd http://172.30.0.254:2379, connected for 3h, revision 42",
    "  firewall  nftables",
    "  daemon    flanneld 0.1.0, started 3h ago",
    "",
    "3 peers: 1 direct, 1 vxlan; 1 with a problem",
    "SUBNET        HOST    ADDRESS      PATH    RTT ms  LOSS  CHANGED  PROBLEM",
    "10.5.2.0/24   host-2  172.30.0.2   direct    0.23    0%",
    "10.5.9.0/24   host-9  172.30.0.9   vxlan     12.3   25%  2m ago",
    "10.5.10.0/24          172.30.0.10  -                              its lease has no usable VtepMAC for IPv4",
  ]);
});

Deno.test("status text: at 80 columns less important columns go, and the last one is cut", () => {
  const document = status(SMALL);
  const shown = lines(document, 80);
  for (const line of shown) assert(line.length <= 80, `${line.length}: ${line}`);
  assert.deepEqual(shown.slice(-3), [
    "10.5.2.0/24   host-2  172.30.0.2   direct    0.23    0%",
    "10.5.9.0/24   host-9  172.30.0.9   vxlan     12.3   25%  2m ago",
    "10.5.10.0/24          172.30.0.10  -                              its lease has…",
  ]);
});

Deno.test("status text: not ready: why, for how long, and where to look", () => {
  const problem =
    "kernel: cannot reconcile flannel.1, retrying in 1 s: no such device, and this is a long text to wrap";
  const shown = lines(
    status(table({}), {
      ready: false,
      notReady: [problem],
      problems: [
        { problem, since: "2026-11-21T11:59:15.000Z" },
        { problem: "leases: no answer from etcd", since: "2026-11-21T11:00:00.000Z" },
      ],
    }),
    80,
  );
  assert.deepEqual(shown.slice(0, 5), [
    "host-1 is not ready",
    "  not ready kernel: cannot reconcile flannel.1, retrying in 1 s: no such device,",
    "            and this is a long text to wrap (for 45s)",
    "  problem   leases: no answer from etcd (for 60m)",
    "  look      flanneld doctor, journalctl -u flanneld",
  ]);
});

Deno.test("status text: before the host is in the network there is no lease, and nothing of it is shown", () => {
  const { schemaVersion, version, time, startedAt, host } = status(table({}));
  const early = { schemaVersion, version, time, startedAt, host, ready: false, problems: [] };
  assert.deepEqual(lines({ ...early, notReady: ["start: not in the network yet"] }, 80), [
    "host-1 is not ready",
    "  not ready start: not in the network yet",
    "  look      flanneld doctor, journalctl -u flanneld",
    "",
    "  daemon    flanneld 0.1.0, started 3h ago",
  ]);
});

Deno.test("status text: a large network is a summary", () => {
  const rows = [row(7, { paths: [], problem: "it has no public IPv4 address" })];
  const summary = table({ paths: { vxlan: 19_999 }, withProblem: 1, rows, omitted: 19_999 });
  const document = status(summary);
  const shown = lines({ ...document, peers: { ...document.peers!, count: 20_000 } }, 80);
  assert.deepEqual(shown.slice(-4), [
    "20,000 peers: 19,999 vxlan; 1 with a problem",
    "SUBNET       HOST    ADDRESS     PATH  PROBLEM",
    "10.5.7.0/24  host-7  172.30.0.7  -     it has no public IPv4 address",
    "19,999 others without a problem; -peers lists all",
  ]);
});

Deno.test("durations: one unit, never coarser than two of it", () => {
  const table: [number, string][] = [
    [0, "0s"],
    [119, "119s"],
    [120, "2m"],
    [7199, "119m"],
    [7200, "2h"],
    [
      172_799,
      "47h",
    ],
    [172_800, "2d"],
    [-5, "0s"],
  ];
  for (const [seconds, text] of table) assert.equal(duration(seconds), text);
});

Deno.test("tables: empty columns are left out, numbers end at the right, nothing is cut without a width", () => {
  const columns = [{ title: "A" }, { title: "EMPTY" }, { title: "N", right: true }, { title: "LAST" }];
  const rows = [["x", "", "1", "a".repeat(30)], ["yy", "", "100", "b"]];
  assert.deepEqual(tableLines(columns, rows, { width: Infinity, style: PLAIN }), [
    "A     N  LAST",
    `x     1  ${"a".repeat(30)}`,
    "yy  100  b",
  ]);
  const [, cut] = tableLines(columns, rows, { width: 24, style: PLAIN });
  assert.equal(cut, `x     1  ${"a".repeat(14)}…`);
});
