/**
 * The original flannel is replaced in place: its unit, its device, entries, rules and lease as it leaves them, then the
 * package's unit. Containers of Docker ping each other meanwhile.
 */
import assert from "node:assert/strict";
import type { Lab } from "../../scripts/lab/lab.ts";
import { readLeases, SUBNETS, vxlanValue } from "../../scripts/lab/leases.ts";
import type { SystemdHost } from "../../scripts/lab/systemd_host.ts";
import { makeImage, runInDocker } from "./containers.ts";
import { hostsTest } from "./hosts_test_case.ts";
import { RunningPing } from "./running_ping.ts";

/** Where an administrator puts the original's unit. */
const UNIT = "/etc/systemd/system/flanneld.service";
const CONTAINER = "box";

hostsTest(
  "walk-through: the original's unit is replaced under a running ping, host by host",
  async (hosts) => {
    const { lab, one, two, both } = hosts;
    for (const host of both) {
      // The original's options are there before the package.
      await host.sh(
        "cp /etc/default/flanneld /root/options; dpkg -P flanneld; mv /root/options /etc/default/flanneld",
      );
      await startOriginal(lab, host);
    }
    const [first, second] = await Promise.all(both.map((host) => runInDocker(host, CONTAINER))) as [
      string,
      string,
    ];
    const leases = await readLeases(lab);
    const pings = [
      await RunningPing.start(one, second, CONTAINER),
      await RunningPing.start(two, first, CONTAINER),
    ];
    for (const host of both) {
      // Of the same name, and first in systemd's order: with it in place the package's unit isn't there.
      const pid = await host.property("flanneld", "MainPID");
      const { stderr } = await host.exec(["dpkg", "-i", "--force-confold", "/srv/flanneld.deb"]);
      assert.match(stderr, /\/etc\/systemd\/system\/flanneld\.service .* move it away/);
      assert.equal(await host.property("flanneld", "MainPID"), pid, "the original runs on");
      const before = await dataPath(host);
      await host.sh(`
      systemctl disable --now flanneld
      mv ${UNIT} /root/
      systemctl daemon-reload
      systemctl enable --now flanneld`);
      assert.match(await host.journal("flanneld"), /origin=reused/);
      assert.deepEqual(await dataPath(host), before);
      assert.match(await host.sh("flanneld status"), / is ready$/m);
      const doctor = await host.exec(["flanneld", "doctor"], { mayFail: true });
      assert.doesNotMatch(doctor.stdout, /^(FAULT|warn)/m);
    }
    const lost = (await Promise.all(pings.map((ping) => ping.stop()))).map(({ lost }) => lost);
    assert.deepEqual(lost, [0, 0]);
    assert.deepEqual(await readLeases(lab), leases, "the leases are the original's, byte for byte");
    for (const host of both) assert.match(await host.sh("docker ps --format '{{.Names}}'"), /^box$/);
  },
);

function numberOf(host: SystemdHost): number {
  return 40 + host.host.number;
}

function macOf(number: number): string {
  return `3e:4b:bc:75:ce:${number}`;
}

/** The original on host 1 or 2 with the other one as its peer, and Docker with its subnet. */
async function startOriginal(lab: Lab, host: SystemdHost): Promise<void> {
  const number = numberOf(host);
  const granted = /lease (\S+) granted/.exec(await lab.etcd.ctl("lease", "grant", "86400"))?.[1];
  const value = vxlanValue(host.host.addresses.ipv4!, macOf(number));
  await lab.etcd.ctl("put", `--lease=${granted}`, "--", `${SUBNETS}10.5.${number}.0-24`, value);
  const peer = number === 41 ? 42 : 41;
  const program = `
    set -e
    ip link show flannel.1 >/dev/null 2>&1 && exec sleep infinity
    ip link add flannel.1 address ${macOf(number)} mtu 1450 type vxlan id 1 \\
      local ${host.host.addresses.ipv4} dev eth0 dstport 8472 nolearning
    ip address add 10.5.${number}.0/32 dev flannel.1
    ip link set flannel.1 up
    ip neigh replace 10.5.${peer}.0 lladdr ${macOf(peer)} nud permanent dev flannel.1
    bridge fdb replace ${macOf(peer)} dst 172.30.0.${peer - 40} dev flannel.1 self permanent
    ip route replace 10.5.${peer}.0/24 via 10.5.${peer}.0 dev flannel.1 onlink
    iptables -N FLANNEL-FWD
    iptables -A FLANNEL-FWD -s 10.5.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    iptables -A FLANNEL-FWD -d 10.5.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    iptables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD
    sysctl -q -w net.ipv4.ip_forward=1
    mkdir -p /run/flannel
    printf 'FLANNEL_NETWORK=10.5.0.0/16\\nFLANNEL_SUBNET=10.5.${number}.1/24\\nFLANNEL_MTU=1450\\nFLANNEL_IPMASQ=false\\n' \\
      >/run/flannel/subnet.env
    exec sleep infinity`;
  const unit = `[Service]
ExecStart=/bin/sh /usr/local/bin/original
ExecStartPost=/bin/sh -c 'until test -e /run/flannel/subnet.env; do sleep 0.1; done'
[Install]
WantedBy=multi-user.target`;
  await host.exec(["sh", "-c", "cat >/usr/local/bin/original"], { input: program });
  await host.exec(["sh", "-c", `cat >${UNIT}`], { input: unit });
  await host.sh(`
    systemctl daemon-reload
    systemctl enable --now flanneld
    mkdir -p /etc/systemd/system/docker.service.d
    cat >/etc/systemd/system/docker.service.d/flannel.conf <<END
[Service]
EnvironmentFile=/run/flannel/subnet.env
ExecStart=
ExecStart=dockerd -H fd:// --bip=\\\${FLANNEL_SUBNET} --mtu=\\\${FLANNEL_MTU}
END
    systemctl daemon-reload
    systemctl restart docker`);
  await makeImage(host);
}

/** What packets need, as the kernel shows it. Rules' counters and routes' protocol are left out. */
async function dataPath(host: SystemdHost): Promise<string[]> {
  const text = await host.sh(`
    cat /run/flannel/subnet.env
    ip -o link show flannel.1 | grep -o 'link/ether [^ ]*'
    ip neigh show dev flannel.1 nud permanent; bridge fdb show dev flannel.1; ip route show dev flannel.1
    iptables -S FLANNEL-FWD`);
  return text.split("\n").map((line) => line.replace(/ proto \w+/, "")).sort();
}
