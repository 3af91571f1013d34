/** `flanneld status` and `flanneld leases` with real daemons, as an operator uses them. */
import assert from "node:assert/strict";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Etcd } from "../../scripts/lab/etcd.ts";
import type { Host } from "../../scripts/lab/host.ts";
import type { Lab, LabOptions } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";

/** What takes longer than this doesn't come, in milliseconds. */
const LIMIT_MS = 30_000;

async function flanneld(host: Host, ...words: string[]) {
  return await host.exec([...flanneldCommand(), ...words, ...host.commonArgs], { mayFail: true });
}

/** The subnet of a host's lease, as the commands take it: `10.5.7.0/24`. */
async function subnetOf(host: Host): Promise<string> {
  const { stdout } = await flanneld(host, "status", "-json");
  return JSON.parse(stdout).lease.subnets[0];
}

/** Starts two hosts, and waits until the first one knows the other. @returns Both, and the other's subnet. */
async function startPair(lab: Lab): Promise<{ one: Host; two: Host; other: string }> {
  await lab.startAll();
  const [one, two] = [lab.host(1), lab.host(2)];
  const other = await subnetOf(two);
  await until(
    "the peer to be known",
    async () => (await flanneld(one, "status")).stdout.includes(other),
    LIMIT_MS,
  );
  return { one, two, other };
}

const NETWORKS: readonly [string, LabOptions, string][] = [
  ["vxlan, etcd", { hosts: 2, config: { Network: "10.5.0.0/16", Backend: { Type: "vxlan" } } }, "vxlan"],
  ["host-gw, etcd", { hosts: 2, config: { Network: "10.5.0.0/16", Backend: { Type: "host-gw" } } }, "direct"],
  [
    "alloc, SQLite",
    { hosts: 2, store: "sqlite", config: { Network: "10.5.0.0/16", Backend: { Type: "alloc" } } },
    "none",
  ],
];

for (const [name, options, path] of NETWORKS) {
  labTest(`${name}: status names the peers and their path, leases list the network`, options, async (lab) => {
    const { one, two, other } = await startPair(lab);
    const status = await flanneld(one, "status");
    assert.equal(status.code, 0, status.stderr);
    assert.match(status.stdout, /^\S+ is ready\n\n {2}lease +10\.5\.\d+\.0\/24, /);
    assert.match(status.stdout, new RegExp(`^1 peer: 1 ${path}$`, "m"));
    const list = await flanneld(one, "leases", "list");
    assert.equal(
      list.stdout.match(/^10\.5\.\d+\.0\/24 .*\b2[34]h\b/gm)?.length,
      2,
      list.stdout + list.stderr,
    );
    assert.match(list.stdout, /255 subnets of \/24: 2 leased, 0 reserved, 253 free/);
    const shown = await flanneld(one, "leases", "show", two.addresses.ipv4!.toString(), "-json");
    assert.deepEqual(JSON.parse(shown.stdout).leases[0].subnets, [other], shown.stderr);
  });
}

labTest("a running host's lease: reserved, unreserved and revoked", { hosts: 2 }, async (lab) => {
  await lab.startAll();
  const [one, two] = [lab.host(1), lab.host(2)];
  const subnet = await subnetOf(two);
  const asked = await flanneld(one, "leases", "reserve", subnet);
  assert.equal(asked.code, 2);
  assert.match(asked.stderr, /nothing done: there is no terminal to ask on; -yes/);
  const reserved = await flanneld(one, "leases", "reserve", subnet, "-yes");
  assert.equal(reserved.code, 0, reserved.stderr);
  await until(
    "the host to have a reservation",
    async () => JSON.parse((await flanneld(two, "status", "-json")).stdout).lease.reservation === true,
    LIMIT_MS,
  );
  const unreserved = await flanneld(one, "leases", "unreserve", subnet, "-yes");
  assert.equal(unreserved.code, 0, unreserved.stderr);
  await until(
    "the host to have a lease again",
    async () => JSON.parse((await flanneld(two, "status", "-json")).stdout).lease.reservation === false,
    LIMIT_MS,
  );
  // It was taken for another host's write.
  assert.doesNotMatch(two.daemon.log, /overwrote|another host/);
  const revoked = await flanneld(one, "leases", "revoke", subnet, "-yes");
  assert.match(revoked.stdout, /Its flanneld ends.*\nThe other hosts drop.*\nRevoked\.\n$/, revoked.stderr);
  assert.equal((await two.daemon.ended()).code, 1);
  assert.doesNotMatch((await flanneld(one, "leases", "list")).stdout, new RegExp(`^${subnet} `, "m"));
});

labTest(
  "a host that is reserved a subnet gets it, and one for no host is nobody's",
  { hosts: 2 },
  async (lab) => {
    const [one, two] = [lab.host(1), lab.host(2)];
    await one.startReady();
    const address = two.addresses.ipv4!.toString();
    for (const words of [["10.5.9.0/24", "-for", address], ["10.5.10.0/24"]]) {
      const { code, stderr } = await flanneld(one, "leases", "reserve", ...words, "-yes");
      assert.equal(code, 0, stderr);
    }
    await two.startReady();
    assert.equal(await subnetOf(two), "10.5.9.0/24");
    assert.match((await flanneld(one, "leases", "list")).stdout, /^10\.5\.10\.0\/24 +reserved$/m);
    const { peers } = JSON.parse((await flanneld(one, "status", "-json")).stdout);
    assert.deepEqual([peers.count, peers.malformed], [1, 0]);
    assert.doesNotMatch(one.daemon.log, /malformed/);
  },
);

labTest(
  "release: refused while the daemon runs, gives the lease back afterwards",
  { hosts: 1 },
  async (lab) => {
    const host = lab.host(1);
    await host.startReady();
    const subnet = await subnetOf(host);
    const refused = await flanneld(host, "leases", "release", "-yes");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /is running and would lose its lease: stop it first/);
    await host.daemon.stop();
    const released = await flanneld(host, "leases", "release", "-yes");
    assert.equal(released.code, 0, released.stderr);
    assert.match(released.stdout, /^Released 10\.5\./m);
    assert.equal((await flanneld(host, "leases", "show", subnet)).code, 1);
    assert.match((await flanneld(host, "leases", "release", "-yes")).stdout, /^This host has no lease\.$/m);
  },
);

/** Puts so many leases in, all on one lease of etcd's. */
async function putLeases(etcd: Etcd, count: number): Promise<void> {
  const granted = /lease ([0-9a-f]+) granted/.exec(await etcd.ctl("lease", "grant", "3000"))![1]!;
  const puts = Array.from({ length: count }, (_, i) => {
    const value = `{"PublicIP":"172.31.${i >> 8}.${i & 255}","PublicIPv6":null,"BackendType":"vxlan"}`;
    return `put --lease=${granted} /coreos.com/network/subnets/10.${i >> 8}.${i & 255}.0-24 ${value}`;
  });
  // etcd takes 128 operations in a transaction.
  for (let at = 0; at < count; at += 100) {
    await etcd.ctlWithInput(`\n${puts.slice(at, at + 100).join("\n")}\n\n\n`, "txn");
  }
}

// One request for each lease: 20,000 of them took etcd and the command 2 to 7 s.
labTest("leases list doesn't ask for thousands of expiries unless -expiry, -json or -csv wants them", {
  hosts: 1,
  config: { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } },
}, async (lab) => {
  const host = lab.host(1);
  await putLeases(lab.etcd, 2001);
  const list = await flanneld(host, "leases", "list");
  assert.match(list.stdout, /^10\.7\.208\.0\/24 .* vxlan +not known$/m);
  assert.match(list.stdout, /isn't known: asking costs etcd a request each \(-expiry\)\.\n$/);
  for (const asking of [["-expiry"], ["-csv"]]) {
    const { stdout } = await flanneld(host, "leases", "list", ...asking);
    assert.doesNotMatch(stdout, /not known/);
    assert.match(stdout, /10\.7\.208\.0.*(49m|,(29\d\d|3000),)/);
  }
  const pool = await flanneld(host, "leases", "pool", "-json", "-expiry=false");
  assert.equal(JSON.parse(pool.stdout).pools[0].expiring, null);
  await lab.etcd.ctl("del", "/coreos.com/network/subnets/10.0.0.0-24");
  assert.match((await flanneld(host, "leases", "list")).stdout, /^10\.7\.208\.0\/24 .* vxlan +(49|50)m/m);
});

labTest("status -watch ends when nobody reads it, and an interrupted probe has no answer", {
  hosts: 2,
}, async (lab) => {
  const { one } = await startPair(lab);
  const sh = (script: string, ...words: string[]) => {
    const command = [...flanneldCommand(), ...words, ...one.commonArgs];
    return one.exec(["bash", "-c", script, "bash", ...command], { mayFail: true });
  };
  // It went on for as long as the host did.
  const watch = await sh('timeout 20 "$@" | head -1; echo "${PIPESTATUS[0]}"', "status", "-watch", "-json");
  assert.match(watch.stdout, /^\{.*\}\n0\n$/, watch.stderr);
  // It said that there are no peers.
  const probe = await sh('timeout -s INT 2 "$@"; true', "probe", "-count", "1000", "-interval", "1s");
  assert.match(probe.stdout, /^Interrupted before a peer had its result$/m, probe.stderr);
});

labTest("status: no daemon, and one that isn't ready", { hosts: 1, config: null }, async (lab) => {
  const host = lab.host(1);
  const away = await flanneld(host, "status");
  assert.equal(away.code, 1);
  assert.match(away.stderr, /no flanneld is running with this -subnet-file/);
  host.start();
  await until("the daemon to answer", async () => (await flanneld(host, "status")).stdout !== "", LIMIT_MS);
  const early = await flanneld(host, "status");
  assert.equal(early.code, 1);
  assert.match(early.stdout, /^\S+ is not ready\n {2}not ready +\S/);
  assert.doesNotMatch(early.stdout, /lease {5}/);
});
