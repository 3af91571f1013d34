/** The VXLAN device on real hosts: conflicts with others, offload, MAC, router advertisements, earlier configs. */
import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/config/types.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";
import { DEVICES, DUAL, HEAL_LIMIT, overlayOf, startNetwork, untilOverlay } from "./heal_network.ts";

/** How long a daemon may take to refuse to start. */
const REFUSAL_LIMIT = 10_000;

/** Everything that the daemon could have touched, with the indexes. */
async function kernelOf(host: Host): Promise<string> {
  const { stdout } = await host.exec([
    "sh",
    "-c",
    "ip -d -o link; ip -o address; ip neigh show nud permanent; bridge fdb; ip -4 route; ip -6 route; nft list ruleset",
  ]);
  // A bridge's timers run.
  return stdout.replace(/_timer +[\d.]+/g, "");
}

interface Conflict {
  readonly what: string;
  readonly ip: readonly string[];
  readonly backend?: JsonObject;
  /** What the error must name. */
  readonly names: RegExp;
}

const CONFLICTS: readonly Conflict[] = [
  {
    what: "another VXLAN device on VNI and port",
    ip: ["link add calico type vxlan id 1 dstport 8472 local 172.30.0.1 dev eth0"],
    names: /VXLAN device calico already has VNI 1 on port 8472.*Backend\.VNI or Backend\.Port/,
  },
  {
    what: "another VXLAN device without underlay on VNI and port of the config",
    ip: ["link add cilium type vxlan id 42 dstport 4789"],
    backend: { VNI: 42, Port: 4789 },
    names: /VXLAN device cilium already has VNI 42 on port 4789/,
  },
  {
    what: "another VXLAN device over IPv6 on VNI and port",
    ip: ["link add calico6 type vxlan id 1 dstport 8472 local fd00:30::1 dev eth0"],
    names: /VXLAN device calico6 already has VNI 1/,
  },
  {
    what: "a bridge of our device's name",
    ip: ["link add flannel.1 type bridge", "link set flannel.1 up", "address add 192.0.2.1/24 dev flannel.1"],
    names: /device flannel\.1: there is one of kind bridge that isn't ours/,
  },
  {
    what: "a veth of our IPv6 device's name",
    ip: ["link add flannel-v6.1 type veth peer name other"],
    names: /device flannel-v6\.1: there is one of kind veth that isn't ours/,
  },
  {
    what: "a VXLAN device of our name that carries another's mark",
    ip: [
      "link add flannel.1 type vxlan id 1 dstport 8472 local 172.30.0.1 dev eth0",
      "link set flannel.1 alias other-program",
    ],
    names: /flannel\.1.*marked "other-program"/,
  },
];

for (const { what, ip, backend, names } of CONFLICTS) {
  labTest(`${what}: refused with its name, nothing is touched`, {
    hosts: 1,
    families: DUAL.families,
    config: networkConfig(DUAL.families, { Type: "vxlan", ...backend }),
    store: "sqlite",
  }, async (lab) => {
    const host = lab.host(1);
    await host.ip(...ip);
    const before = await kernelOf(host);
    const daemon = host.start();
    await until("the daemon to end", () => !daemon.isRunning, REFUSAL_LIMIT);
    assert.notEqual((await daemon.ended()).code, 0);
    assert.match(daemon.log, names);
    assert.doesNotMatch(daemon.log, /\n\s+at /, "no stack trace for what a user can cause");
    assert.equal(await kernelOf(host), before);
    await assert.rejects(Deno.stat(host.subnetFile), Deno.errors.NotFound);
  });
}

async function offload(host: Host, device: string): Promise<string> {
  const { stdout } = await host.exec(["ethtool", "-k", device]);
  return /^\s*tx-checksum-ip-generic: (\w+)/m.exec(stdout)?.[1] ?? "absent";
}

for (const wanted of ["on", "off"] as const) {
  labTest(`TxChecksumOffload ${wanted} is set, and again on a device made again`, {
    hosts: 1,
    families: DUAL.families,
    config: networkConfig(DUAL.families, { Type: "vxlan", TxChecksumOffload: wanted }),
    store: "sqlite",
  }, async (lab) => {
    const host = lab.host(1);
    await host.startReady();
    const other = wanted === "on" ? "off" : "on";
    const untilSet = (what: string) =>
      until(`tx-checksum-ip-generic ${wanted} ${what}`, async () => {
        for (const device of Object.values(DEVICES)) {
          assert.equal(await offload(host, device), wanted, device);
        }
        return true;
      }, HEAL_LIMIT);
    await untilSet("at the start");
    for (const device of Object.values(DEVICES)) await host.ip(`link del ${device}`);
    await untilSet("on new devices");
    for (const device of Object.values(DEVICES)) {
      await host.exec(["ethtool", "-K", device, "tx-checksum-ip-generic", other]);
    }
    await untilSet("after somebody changed it");
  });
}

labTest("the MAC outlives the device and the daemon; router advertisements are refused", {
  hosts: 1,
  families: DUAL.families,
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady();
  const before = await overlayOf(host);
  const acceptRa = async () => {
    const paths = Object.values(DEVICES).map((device) => `/proc/sys/net/ipv6/conf/${device}/accept_ra`);
    return (await host.exec(["cat", ...paths])).stdout;
  };
  assert.equal(await acceptRa(), "0\n0\n");

  await host.daemon.stop();
  await host.ip(...Object.values(DEVICES).map((device) => `link del ${device}`));
  await host.startReady();
  assert.deepEqual(await overlayOf(host), before, "made again, the devices are the same");
  assert.equal(await acceptRa(), "0\n0\n");

  // A device that was there already: systemd or an earlier program may have set it.
  await host.daemon.kill();
  await host.exec(["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/flannel.1/accept_ra"]);
  await host.startReady();
  assert.equal(await acceptRa(), "0\n0\n");
});

labTest("devices of an earlier config go: another VNI, another backend", {
  hosts: 2,
  families: DUAL.families,
}, async (lab) => {
  await startNetwork(lab);
  const restartWith = async (backend: JsonObject) => {
    await Promise.all(lab.hosts.map((host) => host.daemon.stop()));
    await lab.store.writeConfig(JSON.stringify(networkConfig(DUAL.families, backend)));
    await lab.startAll();
    const links = await Promise.all(lab.hosts.map((host) => host.ipJson("link", "show", "type", "vxlan")));
    return links.map((each) => each.map((link) => String(link.ifname)).sort());
  };
  const devices = ["flannel-v6.7", "flannel.7"];
  assert.deepEqual(await restartWith({ Type: "vxlan", VNI: 7 }), [devices, devices]);
  await lab.pingAll();
  assert.deepEqual(await restartWith({ Type: "host-gw" }), [[], []]);
  await lab.pingAll();
  assert.deepEqual(await restartWith({ Type: "vxlan", VNI: 7, Port: 4789 }), [devices, devices]);
  await lab.pingAll();
});

labTest("a stranger that takes our device's name while we run isn't touched; the other family goes on", {
  hosts: 2,
  families: DUAL.families,
}, async (lab) => {
  const wanted = (await startNetwork(lab)).get(lab.host(1))!;
  const host = lab.host(1);
  Deno.kill(host.daemon.pid, "SIGSTOP");
  await host.ip("link del flannel.1", "link add flannel.1 type bridge", "link set flannel.1 up");
  Deno.kill(host.daemon.pid, "SIGCONT");
  await until("the log to name it", () => host.daemon.count(/flannel\.1.*of kind bridge/) > 0, HEAL_LIMIT);
  const [ipv6] = (await host.routes("-6", "flannel-v6.1")).filter((line) => line.includes(" via "));
  await host.ip(`route del ${ipv6!.split(" ")[0]} dev flannel-v6.1`);
  await until("the IPv6 route to be back", async () => {
    return (await host.routes("-6", "flannel-v6.1")).includes(ipv6!);
  }, HEAL_LIMIT);
  assert.deepEqual(await host.routes("-4", "flannel.1"), [], "nothing is written on the stranger's device");
  assert.deepEqual(await host.neighbours("flannel.1"), []);
  const [bridge] = await host.ipJson("link", "show", "dev", "flannel.1");
  assert.equal(bridge!.ifalias, undefined);

  await host.ip("link del flannel.1");
  await untilOverlay(host, wanted, "our device to be back when the stranger is gone");
  await lab.pingAll();
});

labTest("a renamed VTEP is renamed back, while the daemon runs and when it starts", {
  hosts: 2,
  families: DUAL.families,
}, async (lab) => {
  const wanted = (await startNetwork(lab)).get(lab.host(1))!;
  const host = lab.host(1);
  const rename = () => host.ip("link set flannel.1 name lost4", "link set flannel-v6.1 name lost6");
  await rename();
  await untilOverlay(host, wanted, "the devices to have their names again");
  await lab.pingAll();
  await host.daemon.stop();
  await rename();
  await host.startReady();
  await untilOverlay(host, wanted, "the devices to have their names again after a restart");
  assert.equal(host.daemon.count(/ renamed back to flannel/), 2);
  await lab.pingAll();
});

for (const type of ["vxlan", "host-gw"]) {
  labTest(`${type}: Backend.MTU above what the underlay carries: the largest is used and named, once`, {
    hosts: 1,
    families: DUAL.families,
    config: networkConfig(DUAL.families, { Type: type, MTU: 8000 }),
    store: "sqlite",
  }, async (lab) => {
    const host = lab.host(1);
    const largest = type === "vxlan" ? 1430 : 1500;
    assert.equal((await host.startReady()).mtu, largest);
    const line = new RegExp(
      `Backend\\.MTU 8000 is more than eth0 .* can carry: using the largest, ${largest}`,
    );
    // A change of a device of ours brings a pass, which must neither fail nor log it again.
    if (type === "vxlan") await host.ip("link set flannel.1 mtu 1000");
    await host.ip("link set eth0 mtu 1501", "link set eth0 mtu 1500");
    if (type === "vxlan") {
      await until("the device to have its MTU", async () => {
        return (await host.ipJson("link", "show", "dev", "flannel.1"))[0]!.mtu === 1450;
      }, HEAL_LIMIT);
    }
    assert.equal(host.daemon.count(line), 1, host.daemon.log);
    const { problems } = JSON.parse(await host.fetchText("/status"));
    assert.match(JSON.stringify(problems), line);
    await host.ip("link set eth0 mtu 9000");
    await until("the MTU that was asked for", async () => (await host.waitReady()).mtu === 8000, HEAL_LIMIT);
    assert.doesNotMatch(await host.fetchText("/status"), /Backend\.MTU/);
  });
}

labTest("devices that went with the interface are recreated with the MACs of the lease", {
  hosts: 2,
  families: DUAL.families,
}, async (lab) => {
  const wanted = await startNetwork(lab);
  const [host, peer] = lab.hosts as [Host, Host];
  await host.daemon.stop();
  // Another NIC with another MAC: nothing that the daemon could compute is as it was.
  await host.ip("link del eth0");
  await lab.switch.ip(`link add p1 type veth peer name eth0 netns ${host.name}`, "link set p1 master br0 up");
  await host.ip(
    "link set eth0 up",
    `address add ${host.addresses.ipv4}/24 dev eth0`,
    `address add ${host.addresses.ipv6}/64 dev eth0 nodad`,
  );
  await host.startReady({ args: ["-iface=eth0"] });
  await untilOverlay(host, wanted.get(host)!, "the same devices with the same MACs");
  assert.deepEqual(await overlayOf(peer), wanted.get(peer), "the peer has learned nothing new");
  await lab.pingAll();
});
