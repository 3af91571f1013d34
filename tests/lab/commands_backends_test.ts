/** Every command that an operator reads, on a host of a running network, with every backend and every store. */
import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/config/types.ts";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { type Lab, type LabOptions, networkConfig } from "../../scripts/lab/lab.ts";
import { ownSockets } from "../../scripts/lab/own_wireguard.ts";
import { until } from "../../scripts/lab/process.ts";
import type { CloudName } from "../fakes/lab_cloud.ts";
import { CloudLab } from "./cloud_lab.ts";
import { IS_ROOT, withLab } from "./lab_test_case.ts";
import { withKubeLab } from "./kube_lab.ts";
import { hasWireguardGo, startWireguard } from "./wireguard_lab.ts";

/** How the commands are run on a host of this network. */
interface Way {
  /** Stands before the command. */
  readonly wrap?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A network, and what is to be read of it. */
interface Row {
  readonly backend: JsonObject & { readonly Type: string };
  readonly store: "etcd" | "sqlite" | "kube";
  /** The path to a peer, as status calls it. */
  readonly path: string;
  /** What probe says, and the path if it isn't status's; absent: all is well. */
  readonly probed?: { readonly verdict: RegExp; readonly path?: string };
  /** What doctor says besides, as `severity check`. */
  readonly found?: readonly string[];
}

/** Hosts without a device of flannel's have no address in their subnet before they have a container. */
const NO_BRIDGE = { verdict: /^(ok-no-bridge|no-answer)$/ };

/** Nobody carries its packets: the gateway keeps silent, or says that it doesn't reach them. */
const NOTHING_THERE = { verdict: /^(no-answer|unreachable)$/ };

const ROWS: readonly Row[] = [
  { backend: { Type: "vxlan" }, store: "etcd", path: "vxlan" },
  { backend: { Type: "vxlan", DirectRouting: true }, store: "sqlite", path: "direct" },
  // Everybody may read the lab's kubeconfig.
  {
    ...{ backend: { Type: "host-gw" }, store: "kube", path: "direct", probed: NO_BRIDGE },
    found: ["warning secrets"],
  },
  { backend: { Type: "udp" }, store: "etcd", path: "udp" },
  { backend: { Type: "wireguard" }, store: "sqlite", path: "wireguard", found: ["note kernel"] },
  { backend: { Type: "alloc" }, store: "etcd", path: "none", probed: { ...NOTHING_THERE, path: "routed" } },
  { backend: { Type: "aws-vpc" }, store: "etcd", path: "cloud-route", probed: NO_BRIDGE },
  { backend: { Type: "gce" }, store: "sqlite", path: "cloud-route", probed: NO_BRIDGE },
  { backend: { Type: "ali-vpc" }, store: "etcd", path: "cloud-route", probed: NO_BRIDGE },
  { backend: { Type: "tencent-vpc" }, store: "sqlite", path: "cloud-route", probed: NO_BRIDGE },
];

for (const row of ROWS) {
  const needs = row.backend.Type === "wireguard" && !hasWireguardGo() ? " (needs wireguard-go)" : "";
  Deno.test({
    name: `commands: ${JSON.stringify(row.backend)} in ${row.store} (needs root)${needs}`,
    ignore: !IS_ROOT || needs !== "",
    fn: () => withNetwork(row, (host, way) => readAll(host, way, row)),
  });
}

/** Two hosts in a network of that kind, which know each other. */
async function withNetwork(
  { backend, store }: Row,
  body: (host: Host, way: Way) => Promise<void>,
): Promise<void> {
  const known = async (lab: Lab) => {
    for (const host of lab.hosts) {
      await until("the other host to be known", async () => {
        return JSON.parse(await host.fetchText("/status")).peers.count === 1;
      }, 20_000);
    }
  };
  if (store === "kube") {
    return await withKubeLab({ hosts: 2, backend }, async ({ lab, startAll }) => {
      await startAll();
      await known(lab);
      await body(lab.host(1), {});
    });
  }
  const options: LabOptions = { hosts: 2, store, config: networkConfig(["ipv4"], backend) };
  await withLab(options, async (lab) => {
    const isCloud = /-vpc$|^gce$/.test(backend.Type);
    if (isCloud) {
      await using cloud = await CloudLab.open(lab, backend.Type as CloudName);
      for (const host of lab.hosts) cloud.start(host);
      await Promise.all(lab.hosts.map((host) => host.waitReady()));
      await known(lab);
      return await body(lab.host(1), { env: cloud.env });
    }
    if (backend.Type === "wireguard") {
      await startWireguard(lab);
      await known(lab);
      return await body(lab.host(1), { wrap: ownSockets(lab.host(1)) });
    }
    await lab.startAll();
    await known(lab);
    await body(lab.host(1), {});
  });
}

/** Runs each, and looks at what it says. */
async function readAll(host: Host, way: Way, row: Row): Promise<void> {
  const peer = "172.30.0.2";
  const env = Object.entries({ ...way.env, COLUMNS: "80" }).map(([name, value]) => `${name}=${value}`);
  const flanneld = async (...words: string[]) => {
    const command = ["env", ...env, ...way.wrap ?? [], ...flanneldCommand(), ...words, ...host.commonArgs];
    const { code, stdout, stderr } = await host.exec(command, { mayFail: true });
    for (const line of words[0] === "status" ? stdout.split("\n") : []) assert.ok(line.length <= 80, line);
    return { code, text: stdout + stderr };
  };
  // It gives each of its checks 8 s, and what runs beside it takes the processor.
  assertExamined(await flanneld("doctor", "-json"), row);
  const [status, list, show, map, probe, capture, report] = await Promise.all([
    flanneld("status"),
    flanneld("leases", "list"),
    flanneld("leases", "show", peer),
    flanneld("leases", "map"),
    flanneld("probe", "all", "-json"),
    flanneld("capture", peer, "-seconds", "1", "-o", `${host.folder}/packets.pcapng`),
    flanneld("report", "-o", `${host.folder}/report.tar.gz`),
  ]);
  assert.equal(status.code, 0, status.text);
  assert.match(status.text, new RegExp(`\n1 peer: 1 ${row.path}\n`));
  assert.match(status.text, new RegExp(`^10\\.5\\.\\d+\\.0/24 +(node2 +)?${peer} +${row.path}\\b`, "m"));
  assert.equal(list.text.match(/^10\.5\.\d+\.0\/24 .*\b(23h|24h|assigned)\b/gm)?.length, 2, list.text);
  assert.match(list.text, /: 255 subnets of \/24: 2 leased, 0 reserved, 253 free \(>99%\)\n/);
  assert.match(show.text, new RegExp(`^10\\.5\\.\\d+\\.0/24\n(  host      node2\n)?  address   ${peer}\n`));
  assert.match(map.text, /: 255 subnets of \/24, 2 taken, 253 free\n/);
  assertProbed(probe, row);
  assert.equal(capture.code, 0, capture.text);
  assert.match(capture.text, /^listening on \S+: inner packets of 10\.5\.\d+\.0\/24/m);
  assert.match(capture.text, /^\S+: \d+ packets?, \d+ bytes, 0 dropped by the kernel$/m);
  assert.equal(report.code, 0, report.text);
  assert.match(report.text, /: 2[0-9] of 26 parts, \d+ KiB, secrets masked\n$/);
}

interface Ended {
  readonly code: number;
  readonly text: string;
}

function assertProbed({ text, code }: Ended, { path, probed }: Row): void {
  const [family] = JSON.parse(text).peers[0].families;
  assert.equal(family.path, probed?.path ?? path);
  // Beside other work the overlay may be slow.
  assert.match(family.verdict.code, probed?.verdict ?? /^(ok|overlay-slow)$/, text);
  assert.ok(family.underlay.received > 0 && family.underlay.mtu === 1500, text);
  const isFault = family.verdict.severity === "fault";
  if (family.verdict.code !== "overlay-slow") assert.equal(code, isFault ? 1 : 0, text);
}

function assertExamined({ text }: Ended, { found = [] }: Row): void {
  const { checks } = JSON.parse(text) as {
    checks: { name: string; findings: { severity: string; text: string }[] }[];
  };
  const shown = checks.flatMap(({ name, findings }) =>
    findings.filter(({ severity }) => severity !== "ok").map(({ severity }) => `${severity} ${name}`)
  ).filter((finding) => finding !== "note clock");
  assert.deepEqual(shown, found, text);
}
