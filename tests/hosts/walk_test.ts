/**
 * A host's life with the package: containers, upgrade and downgrade under a running ping, a look at it, removal.
 */
import assert from "node:assert/strict";
import type { Lab } from "../../scripts/lab/lab.ts";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";
import type { SystemdHost } from "../../scripts/lab/systemd_host.ts";
import { makeImage, runInDocker } from "./containers.ts";
import { EXAMPLES, type Hosts, hostsTest } from "./hosts_test_case.ts";
import { laterPackage } from "./packages.ts";
import { RunningPing } from "./running_ping.ts";

const CONTAINER = "box";

hostsTest(
  "walk-through: containers ping while the package is upgraded, downgraded, removed; purge leaves no file",
  async (hosts) => {
    const { lab, one, both } = hosts;
    const later = laterPackage(lab.folder);
    const addresses = await startContainers(hosts);
    await checkCommands(one);
    await Promise.all(both.map(async (host) => Deno.copyFile(await later, `${host.shared}/later.deb`)));

    const subnet = await one.sh("grep FLANNEL_SUBNET /run/flannel/subnet.env");
    const build = await runningBuild(one);
    assert.deepEqual(await lostWhile(hosts, addresses, () => one.sh("dpkg -i /srv/later.deb")), [0, 0]);
    assert.notEqual(await runningBuild(one), build);
    assert.equal(await one.sh("grep FLANNEL_SUBNET /run/flannel/subnet.env"), subnet);
    assert.equal(
      await one.sh("ls /var/cache/flanneld"),
      await runningBuild(one),
      "the older build is removed",
    );
    await checkCommands(one);

    await checkOtherBackends(lab, hosts, addresses);
    await checkWithoutEtcd(lab, hosts, addresses);

    assert.deepEqual(await lostWhile(hosts, addresses, () => one.sh("dpkg -r flanneld")), [0, 0]);
    assert.equal(await one.sh("ls /etc/systemd/system/*/flanneld* 2>/dev/null || true"), "");
    await one.sh("dpkg -i /srv/flanneld.deb; systemctl enable --now flanneld");
    assert.equal(await one.sh("grep FLANNEL_SUBNET /run/flannel/subnet.env"), subnet);
    await one.sh(
      "systemctl stop flanneld; flanneld cleanup; dpkg -P flanneld",
    );
    assert.equal(
      await one.sh("find / -xdev -iname '*flannel*' -not -path '/srv/*' -not -path '/proc/*'"),
      DROP_IN,
    );
    const state = await one.sh("ip link; ip route; nft list ruleset 2>/dev/null; iptables-save");
    assert.doesNotMatch(state, /flannel|proto 70/i);
  },
);

const DROP_IN = "/etc/systemd/system/docker.service.d/flannel.conf";

/** Configures Docker on both hosts as docs/install.md says. @returns The address of a container on each host. */
async function startContainers({ both }: Hosts): Promise<string[]> {
  return await Promise.all(both.map(async (host) => {
    await host.sh(`
      mkdir -p /etc/systemd/system/docker.service.d
      cp ${EXAMPLES}/docker/flannel.conf ${DROP_IN}
      systemctl daemon-reload
      systemctl enable --now flanneld flanneld-docker-opts
      systemctl restart docker`);
    await makeImage(host);
    return await runInDocker(host, CONTAINER);
  }));
}

/** The folder that the running daemon's build was unpacked to. */
async function runningBuild(host: SystemdHost): Promise<string> {
  return await host.sh(
    "basename $(dirname $(readlink /proc/$(systemctl show --value -p MainPID flanneld)/exe))",
  );
}

/** Pings from each host's container to the other's during `body`. @returns How many were lost, from and to the first. */
async function lostWhile(
  { one, two }: Hosts,
  addresses: readonly string[],
  body: () => Promise<unknown>,
): Promise<number[]> {
  const pings = await Promise.all([
    RunningPing.start(one, addresses[1]!, CONTAINER),
    RunningPing.start(two, addresses[0]!, CONTAINER),
  ]);
  await body();
  return (await Promise.all(pings.map((ping) => ping.stop()))).map(({ lost }) => lost);
}

/**
 * With udp packets go through the daemon: what comes while another one starts is lost. With WireGuard in user space they
 * go through a program that stays.
 */
async function checkOtherBackends(lab: Lab, hosts: Hosts, addresses: readonly string[]): Promise<void> {
  const restartWith = async (backend: string) => {
    await lab.store.writeConfig(JSON.stringify(networkConfig(["ipv4"], { Type: backend })));
    await Promise.all(hosts.both.map((host) => host.sh("systemctl restart flanneld")));
  };
  await restartWith("udp");
  const lost = await lostWhile(hosts, addresses, () => hosts.one.sh("dpkg -i /srv/flanneld.deb"));
  console.log(`udp: ${lost.join(" and ")} pings of 10 ms lost`);
  // With the unpacking in it, the start took 2 s longer.
  const unpacked = await hosts.one.sh(`stat -c %.Y /var/cache/flanneld/${await runningBuild(hosts.one)}`);
  const log = await hosts.one.sh(
    "journalctl -u flanneld -o short-unix --no-pager --grep 'Got SIGTERM' --lines 1",
  );
  assert.ok(Number(unpacked) < parseFloat(log), `unpacked at ${unpacked}; ${log}`);

  await restartWith("wireguard");
  const program = await hosts.one.sh("pgrep -x wireguard-go");
  assert.deepEqual(await lostWhile(hosts, addresses, () => hosts.one.sh("dpkg -i /srv/later.deb")), [0, 0]);
  assert.equal(await hosts.one.sh("pgrep -x wireguard-go"), program);
  await restartWith("vxlan");
}

/** The unit starts when etcd answers; dpkg waited for that, without an end. */
async function checkWithoutEtcd(lab: Lab, hosts: Hosts, addresses: readonly string[]): Promise<void> {
  const { one } = hosts;
  lab.etcd.pause();
  const upgrade = () => one.exec(["timeout", "60", "dpkg", "-i", "/srv/later.deb"]);
  const lost = await lostWhile(
    hosts,
    addresses,
    async () => assert.match((await upgrade()).stderr, /isn't ready yet/),
  );
  assert.deepEqual(lost, [0, 0]);
  lab.etcd.resume();
  await until("readiness", async () => await one.property("flanneld", "ActiveState") === "active", 20_000);
}

/** The commands of a person who looks at the host, with no option, as the service has them all. */
async function checkCommands(host: SystemdHost): Promise<void> {
  assert.match(await host.sh("flanneld status"), / is ready$/m);
  const doctor = await host.exec(["flanneld", "doctor"], { mayFail: true });
  assert.doesNotMatch(doctor.stdout, /^FAULT/m);
  await host.sh("rm -f /srv/report.tar.gz; flanneld report -o /srv/report.tar.gz");
  assert.match(
    await host.sh("tar -xzOf /srv/report.tar.gz --wildcards '*/log.txt'"),
    /In the network subnet=/,
  );
}
