/** Which host a lease belongs to, with running daemons: one address on two hosts, and another address on one. */
import assert from "node:assert/strict";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { leaseKey, readLeases } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";

const config = (type: string) => ({ Network: "10.5.0.0/16", Backend: { Type: type } });

/** Takes away what an earlier run left, as a reboot does. */
async function forget(host: Host): Promise<void> {
  await Deno.remove(host.folder, { recursive: true });
  await host.ip("link del flannel.1").catch(() => {});
}

async function valueOf(lab: Lab, subnet: string): Promise<string | undefined> {
  return (await readLeases(lab)).get(leaseKey(subnet));
}

for (const type of ["vxlan", "alloc"]) {
  labTest(
    `${type}: a newcomer with a live host's public IP ends with the reason, and the holder goes on`,
    { hosts: 2, config: config(type) },
    async (lab) => {
      const [holder, newcomer] = [lab.host(1), lab.host(2)];
      const ip = holder.addresses.ipv4!;
      const { subnets: { ipv4: subnet } } = await holder.startReady();
      const value = await valueOf(lab, subnet!);
      newcomer.start({ args: [`-public-ip=${ip}`] });
      await until("the newcomer to end", () => !newcomer.daemon.isRunning, 10_000);
      assert.equal((await newcomer.daemon.ended()).code, 1);
      const { log } = newcomer.daemon;
      for (const text of [ip, value!, "-public-ip", "-iface"]) {
        assert.ok(log.includes(text), `it names ${text}`);
      }
      assert.deepEqual(await newcomer.routes("-4", "flannel.1"), [], "it never touched the kernel");
      await assert.rejects(Deno.stat(newcomer.subnetFile), "it wrote no subnet file");
      assert.equal(await valueOf(lab, subnet!), value);
      assert.equal(await holder.probe("/readyz"), 200);
      assert.match(holder.daemon.log, /in use by another host, which overwrote the lease/);
      assert.match(await holder.fetchText("/metrics"), /^flannel_lease_conflicts_total 1$/m);
    },
  );
}

labTest("a machine in the place of one that is gone takes its subnet by the public IP, after two seconds", {
  hosts: 2,
}, async (lab) => {
  const [gone, replacement] = [lab.host(1), lab.host(2)];
  const { subnets } = await gone.startReady();
  await gone.daemon.kill();
  const began = performance.now();
  const again = await replacement.startReady({ args: [`-public-ip=${gone.addresses.ipv4!}`] });
  assert.equal(again.subnets.ipv4, subnets.ipv4);
  assert.ok(performance.now() - began > 2000, "it watched the lease first");
});

labTest("udp: hosts behind one address with a port each work side by side, and keep their subnets", {
  hosts: 2,
  config: config("udp"),
}, async (lab) => {
  const args = (port: number) => ({ args: ["-public-ip=172.30.0.200", `-udp-port=${port}`] });
  const [first, second] = [lab.host(1), lab.host(2)];
  const before = [await first.startReady(args(9001)), await second.startReady(args(9002))];
  assert.notEqual(before[0]!.subnets.ipv4, before[1]!.subnets.ipv4);
  for (const host of lab.hosts) await host.daemon.stop();
  const after = [await first.startReady(args(9001)), await second.startReady(args(9002))];
  assert.deepEqual(after.map(({ subnets }) => subnets), before.map(({ subnets }) => subnets));
});

for (const type of ["vxlan", "host-gw", "udp", "alloc"]) {
  labTest(`${type}: a restart takes its lease at once, and after a reboot the same one`, {
    hosts: 1,
    config: config(type),
  }, async (lab) => {
    const host = lab.host(1);
    const { subnets } = await host.startReady();
    await host.daemon.kill();
    assert.deepEqual((await host.startReady()).subnets, subnets);
    assert.doesNotMatch(host.daemon.log, /Taking over/);
    await host.daemon.stop();
    await forget(host);
    assert.deepEqual((await host.startReady()).subnets, subnets);
    // A VtepMAC is the machine's own; without one it can't be known who wrote the lease.
    assert.equal(/Taking over/.test(host.daemon.log), type !== "vxlan");
  });
}

for (const type of ["vxlan", "host-gw", "udp"]) {
  labTest(`${type}: a host whose address changed while it was stopped keeps its subnet`, {
    hosts: 2,
    config: config(type),
  }, async (lab) => {
    const [, before] = await lab.startAll();
    await lab.connect();
    await lab.pingAll();
    const host = lab.host(2);
    await host.daemon.stop();
    const old = host.addresses.ipv4!;
    const now = old.replace(/\d+$/, "177");
    await host.ip(
      `addr del ${old}/24 dev eth0`,
      `addr add ${now}/24 dev eth0`,
      "route replace default via 172.30.0.254 dev eth0",
    );
    const after = await host.startReady();
    assert.equal(after.text, before!.text);
    assert.match((await valueOf(lab, after.subnets.ipv4!))!, new RegExp(now.replaceAll(".", "\\.")));
    assert.doesNotMatch(host.daemon.log, /another host/);
    assert.equal((await readLeases(lab)).size, 2);
    await lab.pingAll();
  });
}

labTest("a lease that has expired makes the host not ready, with the reason, until it is renewed", {
  hosts: 1,
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady({ args: ["-subnet-lease-ttl=6s"] });
  const left = async () =>
    Number(/^flannel_lease_remaining_seconds (\S+)$/m.exec(await host.fetchText("/metrics"))?.[1]);
  const first = await left();
  assert.ok(first > 1 && first <= 6, `${first} s left`);
  await lab.etcd.stop();
  const hasExpired = async () =>
    /^lease: 10\.5\.\d+\.0-24 has expired/m.test(await host.fetchText("/readyz"));
  await until("the lease to expire", hasExpired, 15_000);
  assert.equal(await host.probe("/readyz"), 503);
  assert.ok(await left() <= 0);
  await lab.etcd.start();
  await until("the host to be ready again", async () => await host.probe("/readyz") === 200, 20_000);
  assert.ok(await left() > 0);
});

labTest(
  "sqlite: a store file that is deleted under the daemon ends it with the reason; the data path stays",
  {
    hosts: 1,
    store: "sqlite",
  },
  async (lab) => {
    const host = lab.host(1);
    await host.startReady();
    await Deno.remove(`${lab.folder}/store.db`);
    await until("the daemon to end", () => !host.daemon.isRunning, 5000);
    assert.equal((await host.daemon.ended()).code, 1);
    assert.match(host.daemon.log, /store\.db was deleted while it was in use/);
    assert.doesNotMatch(host.daemon.log, /^\s+at /m, "no stack trace");
  },
);
