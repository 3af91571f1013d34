/** Docker and containerd on the subnets, as docs/install.md describes. */
import assert from "node:assert/strict";
import { until } from "../../scripts/lab/process.ts";
import type { SystemdHost } from "../../scripts/lab/systemd_host.ts";
import {
  makeImage,
  pingFromContainerd,
  pingFromDocker,
  runInContainerd,
  runInDocker,
  shareImage,
} from "./containers.ts";
import { EXAMPLES, hostsTest } from "./hosts_test_case.ts";

// The drop-in named /usr/bin/dockerd, and Debian's docker.service failed with 203/EXEC.
hostsTest(
  "docker: the drop-in gives docker0 the subnet, before and after a reboot",
  async ({ one, two, both }) => {
    await Promise.all(both.map((host) =>
      host.sh(`
      mkdir -p /etc/systemd/system/docker.service.d
      cp ${EXAMPLES}/docker/flannel.conf /etc/systemd/system/docker.service.d/
      systemctl daemon-reload
      systemctl enable --now flanneld flanneld-docker-opts
      systemctl restart docker`)
    ));
    await Promise.all(both.map(makeImage));
    await checkDocker(one, two, "before");
    await one.reboot();
    assert.equal(await one.property("docker", "ActiveState"), "active");
    await checkDocker(one, two, "after");
  },
);

hostsTest(
  "docker: its starts and restarts are followed in the firewall, and no damage is reported",
  async ({ one }) => {
    // Each pass that followed Docker's new rules warned that flanneld's own had been changed by someone else.
    await one.sh(`
      sed -i 's/^FLANNEL_OPTIONS=/&-ip-masq -iptables-resync=1 /' /etc/default/flanneld
      systemctl start flanneld`);
    const damage = /Another program changed firewall rules/;
    const jump = "iptables -C DOCKER-USER -m comment --comment 'flanneld forward' -j FLANNEL-FWD";
    for (const what of ["start", "restart", "restart"]) {
      await one.sh(`systemctl ${what} docker`);
      await until("the jump to flanneld's rules", () => one.sh(`${jump} && echo yes`), 10_000);
      // Passes go on while Docker does.
      await one.sh("sleep 3");
      assert.doesNotMatch(await one.journal("flanneld"), damage, what);
    }
    assert.match(await one.journal("flanneld"), /Firewall rules follow a change of other programs' rules/);
    await one.sh("iptables -F FLANNEL-FWD");
    await until("the damage to be reported", async () => damage.test(await one.journal("flanneld")), 10_000);
  },
);

/** Makes a container on each host, and pings from each to the other. */
async function checkDocker(one: SystemdHost, two: SystemdHost, name: string): Promise<void> {
  const [first, second] = await Promise.all([one, two].map((host) => runInDocker(host, name)));
  for (const [host, address] of [[one, first!], [two, second!]] as const) {
    const subnet = await host.sh(". /run/flannel/subnet.env; echo $FLANNEL_SUBNET");
    assert.equal(address.replace(/\.\d+$/, ""), subnet.replace(/\.\d+\/24$/, ""));
    const [link] = await host.host.ipJson("link", "show", "docker0");
    assert.equal(link!["mtu"], 1450);
  }
  await until("a ping from one to two", () => pingFromDocker(one, name, second!), 10_000);
  await until("a ping from two to one", () => pingFromDocker(two, name, first!), 10_000);
}

hostsTest(
  "containerd: containers on the subnet file's subnet reach each other",
  async ({ one, two, both }) => {
    await Promise.all(both.map(async (host) => {
      await host.sh("systemctl enable --now flanneld");
      // Debian has no flannel CNI plugin: what that makes of the subnet file, for the plugin bridge.
      await host.sh(`
      . /run/flannel/subnet.env
      mkdir -p /etc/cni/net.d
      cat >/etc/cni/net.d/10-flannel.conflist <<END
      {"cniVersion": "1.0.0", "name": "flannel", "plugins": [{
        "type": "bridge", "bridge": "cni0", "mtu": $FLANNEL_MTU, "isDefaultGateway": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "subnet": "\${FLANNEL_SUBNET%.1/*}.0/24", "routes": [{"dst": "$FLANNEL_NETWORK"}]}
      }]}
END`);
      await makeImage(host);
      await shareImage(host);
    }));
    const [first, second] = await Promise.all(both.map((host) => runInContainerd(host, "box")));
    await until("a ping from one to two", () => pingFromContainerd(one, "box", second!), 10_000);
    await until("a ping from two to one", () => pingFromContainerd(two, "box", first!), 10_000);
  },
);
