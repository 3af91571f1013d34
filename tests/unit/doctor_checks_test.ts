/** `doctor`: what each check makes of what it reads. The faults themselves are made in tests/lab/doctor_test.ts. */
import assert from "node:assert/strict";
import { bridgeNetfilter } from "../../lib/doctor/checks/bridge_netfilter.ts";
import { checksumOffload } from "../../lib/doctor/checks/checksum_offload.ts";
import { clock, skewOf } from "../../lib/doctor/checks/clock.ts";
import { daemon } from "../../lib/doctor/checks/daemon.ts";
import { firewallTools } from "../../lib/doctor/checks/firewall_tools.ts";
import { forwardPolicy, parseForward } from "../../lib/doctor/checks/forward_policy.ts";
import { forwarding } from "../../lib/doctor/checks/forwarding.ts";
import { interfaceCheck } from "../../lib/doctor/checks/interface.ts";
import { hasModule, kernelFeatures } from "../../lib/doctor/checks/kernel_features.ts";
import { mtu } from "../../lib/doctor/checks/mtu.ts";
import { networkManagers } from "../../lib/doctor/checks/network_managers.ts";
import { otherFirewalls } from "../../lib/doctor/checks/other_firewalls.ts";
import { resources } from "../../lib/doctor/checks/resources.ts";
import { secrets } from "../../lib/doctor/checks/secrets.ts";
import { store } from "../../lib/doctor/checks/store.ts";
import { boundSockets, tunnelPort } from "../../lib/doctor/checks/tunnel_port.ts";
import { CHECKS } from "../../lib/doctor/checks.ts";
import type { Finding } from "../../lib/doctor/types.ts";
import { readSource } from "./source_files.ts";

/** `severity: text` of each finding. */
function shown(findings: readonly Finding[]): string {
  return findings.map(({ severity, text }) => `${severity}: ${text}`).join("\n");
}

Deno.test("doctor: config", () => {
  const howToWrite = "Write one.";
  assert.match(shown(store.judge({ failure: "no answer", howToWrite })), /^fault: no answer$/);
  assert.match(shown(store.judge({ description: "etcd x", howToWrite })), /^fault: .*etcd x\. Write one\.$/);
  assert.match(shown(store.judge({ faults: ["VNI: too large"], howToWrite })), /^fault: VNI/);
  const known = { description: "etcd x", backend: "vxlan", warnings: ["unknown key"], howToWrite };
  assert.match(shown(store.judge(known)), /^ok: vxlan network in etcd x\nwarning: unknown key$/);
});

Deno.test("doctor: interface, and one that the running daemon doesn't use", () => {
  const candidates = [{
    name: "eth0",
    index: 2,
    addresses: ["10.0.2.15"],
    taken: true,
    reason: "default route",
  }];
  const chosen = { name: "eth0", mtu: 1500 };
  assert.match(shown(interfaceCheck.judge({ chosen, candidates })), /^ok: eth0, MTU 1500$/);
  assert.match(
    shown(interfaceCheck.judge({ chosen, candidates, inUse: "eth1" })),
    /^note: .*daemon uses eth1/,
  );
  assert.match(shown(interfaceCheck.judge({ failure: "no -iface fits", candidates })), /^fault: no -iface/);
});

Deno.test("doctor: kernel features, with depmod's lists", () => {
  const list =
    "kernel/drivers/net/vxlan/vxlan.ko.xz: kernel/net/ipv4/udp_tunnel.ko.xz\nkernel/net/ipv4/ipip.ko:\n";
  assert.ok(hasModule(list, "vxlan"));
  assert.ok(hasModule(list, "ipip"));
  assert.ok(!hasModule(list, "tun"));
  const base = { release: "6.1.0", hasModules: true };
  const judge = (presence: "there" | "loadable" | "absent", hasModules = true) =>
    kernelFeatures.judge({ ...base, hasModules, features: [{ module: "vxlan", presence }] });
  assert.match(shown(judge("there")), /^ok/);
  assert.match(shown(judge("loadable")), /^ok: the kernel loads/);
  assert.match(shown(judge("absent")), /^fault: the kernel has no vxlan/);
  assert.match(judge("absent")[0]!.remedy!.join(), /linux-modules-extra-6\.1\.0/);
  assert.match(judge("absent", false)[0]!.remedy!.join(), /reboot/);
  const slow = kernelFeatures.judge({ ...base, features: [], wireguardProgram: "wireguard-go" });
  assert.match(shown(slow), /^note: .*wireguard-go/);
});

Deno.test("doctor: MTU of bridges, devices, the subnet file and paths", () => {
  const good = {
    external: { name: "eth0", mtu: 1500 },
    ...{ planned: 1450, written: 1450, paths: 2, narrow: [] },
    devices: [{ name: "flannel.1", mtu: 1450 }],
    wanted: new Map([["flannel.1", 1450]]),
    bridges: [{ name: "cni0", mtu: 1450 }],
  };
  assert.match(
    shown(mtu.judge(good)),
    /^ok: eth0 1500, flannel\.1 1450, containers 1450, paths to 2 peers 1500$/,
  );
  assert.match(
    shown(mtu.judge({ ...good, bridges: [{ name: "docker0", mtu: 1500 }] })),
    /^warning: .*docker0/,
  );
  assert.match(
    shown(mtu.judge({ ...good, devices: [{ name: "flannel.1", mtu: 1400 }] })),
    /^warning: flannel\.1/,
  );
  assert.match(shown(mtu.judge({ ...good, written: 1500 })), /^warning: the subnet file/);
  const narrow = [{ peer: "192.0.2.7", device: "tun0", mtu: 1400, carries: 1350 }];
  const [finding] = mtu.judge({ ...good, narrow });
  assert.match(
    shown([finding!]),
    /^warning: the path to a peer takes less than eth0: .*more than 1350 bytes/,
  );
  assert.match(finding!.remedy!.join("\n"), /"MTU": 1350/);
  // Containers may send less than the path takes already.
  assert.match(shown(mtu.judge({ ...good, narrow: [{ ...narrow[0]!, carries: 1450 }] })), /^ok/);
});

Deno.test("doctor: forwarding", () => {
  const name = "net.ipv4.ip_forward";
  assert.match(shown(forwarding.judge([{ name, value: "1" }])), /^ok/);
  assert.match(shown(forwarding.judge([{ name, value: "0" }])), /^warning: net\.ipv4\.ip_forward is 0/);
  assert.match(shown(forwarding.judge([{ name, value: undefined }])), /^warning: cannot read/);
});

Deno.test("doctor: FORWARD with policy DROP, with our rules, without them, before flanneld runs", () => {
  const saved = [
    "*filter",
    ":FORWARD DROP [0:0]",
    ":DOCKER-USER - [0:0]",
    ":FLANNEL-FWD - [0:0]",
    '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
    "COMMIT",
  ].join("\n");
  const held = parseForward(saved, "FLANNEL-FWD", "iptables")!;
  assert.deepEqual(held, {
    program: "iptables",
    policy: "DROP",
    acceptsOurs: true,
    hasDocker: true,
    hasUfw: false,
  });
  assert.equal(parseForward("", "FLANNEL-FWD", "iptables"), undefined);
  const base = { dropping: [], hasOwnTable: false, wanted: true, networks: ["10.5.0.0/16"] };
  const judge = (acceptsOurs: boolean, running: boolean) =>
    shown(forwardPolicy.judge({ ...base, chains: [{ ...held, acceptsOurs }], running }));
  assert.match(judge(true, true), /^ok: FORWARD of iptables has policy DROP \(Docker sets it\)/);
  assert.match(judge(false, true), /^fault: .*aren't in it/);
  assert.match(judge(false, false), /^note: .*adds accept rules/);
  const remedy = (chain: Partial<typeof held>, networks = ["10.5.0.0/16", "fc00::/48"]) =>
    forwardPolicy.judge({
      ...{ ...base, networks, running: true },
      chains: [{ ...held, acceptsOurs: false, ...chain }],
    })[0]!.remedy!.slice(1);
  assert.deepEqual(remedy({ hasUfw: true }), [
    "ufw route allow from 10.5.0.0/16",
    "ufw route allow to 10.5.0.0/16",
  ]);
  // Its remedy gave ip6tables the IPv4 network, which ip6tables refuses.
  assert.deepEqual(remedy({ program: "ip6tables" }), [
    "ip6tables -I FORWARD -s fc00::/48 -j ACCEPT",
    "ip6tables -I FORWARD -d fc00::/48 -j ACCEPT",
  ]);
});

Deno.test("doctor: the tunnel's port: another program, the kernel's own socket, flanneld", () => {
  const table =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
    "  1: 00000000:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0 0\n" +
    "  2: 00000000:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 0 2 0 0\n";
  assert.deepEqual(boundSockets(table), [["4242", 8472]]);
  const judge = (program: string) =>
    shown(tunnelPort.judge({ ports: [8472], users: [{ port: 8472, pid: 7, program }], neighbours: [] }));
  assert.match(judge("nc"), /^fault: process 7 \(nc\) has UDP port 8472/);
  assert.match(judge("flanneld"), /^ok/);
  assert.equal(shown(tunnelPort.judge({ ports: [], users: [], neighbours: [] })), "");
});

Deno.test("doctor: checksum offload: faulty driver, old kernel, another state than the config's", () => {
  const device = { name: "flannel.1", active: true, setting: "auto" as const, port: 8472 };
  const base = { devices: [device], external: "ens192", driver: "e1000", release: "6.1.0-13-amd64" };
  assert.match(shown(checksumOffload.judge(base)), /^ok/);
  assert.match(shown(checksumOffload.judge({ ...base, driver: "vmxnet3" })), /^warning: .*vmxnet3/);
  const remedyOf = (setting: "auto" | "on") =>
    checksumOffload.judge({ ...base, driver: "vmxnet3", devices: [{ ...device, setting }] })[0]!.remedy!.join(
      "\n",
    );
  assert.match(remedyOf("auto"), /^ethtool -K flannel\.1/);
  // The daemon would switch it on again.
  assert.doesNotMatch(remedyOf("on"), /ethtool/);
  const onIana = { ...base, driver: "vmxnet3", devices: [{ ...device, port: 4789 }] };
  assert.match(shown(checksumOffload.judge(onIana)), /^ok/);
  assert.match(shown(checksumOffload.judge({ ...base, release: "4.19.0-25" })), /^warning: .*63 s/);
  const asked = { ...base, devices: [{ ...device, setting: "off" as const }] };
  assert.match(shown(checksumOffload.judge(asked)), /^warning: .*offload on, the network config says off/);
});

Deno.test("doctor: the clock against etcd's: the Date header's second is a tolerance", () => {
  const date = Date.UTC(2026, 0, 1, 12, 0, 0);
  assert.deepEqual(skewOf("e", date, date + 480, date + 520), {
    endpoint: "e",
    aheadMs: 0,
    toleranceMs: 520,
  });
  const judge = (aheadMs: number, synchronized = true) =>
    shown(clock.judge({
      state: { synchronized, maxErrorUs: 0 },
      skews: [{ endpoint: "e", aheadMs, toleranceMs: 510 }],
      silent: [],
    }));
  assert.match(judge(400), /^ok: the clock follows a time server, and is as etcd's is$/);
  assert.match(judge(-5_200), /^ok/);
  assert.match(judge(-20_000), /^note: the clock is 20\.0 s off/);
  assert.match(judge(90_000), /^warning: the clock is 90\.0 s off/);
  assert.match(judge(0, false), /^note: the clock doesn't follow/);
});

Deno.test("doctor: the daemon: none, not ready, problems, refused and missing entries", () => {
  const well = {
    running: true,
    problems: [],
    notReady: [],
    failures: [],
    unreached: [],
    missing: [],
    peers: 3,
  };
  assert.match(shown(daemon.judge(well)), /^ok: runs, is ready, and has the routes to 3 peers$/);
  assert.match(shown(daemon.judge({ ...well, running: false, silence: "no socket" })), /^note: no daemon/);
  // Of one that hangs, and of one that an ordinary user may not ask, it said that none was running.
  const silent = (unknown: "no answer" | "not root") =>
    shown(daemon.judge({ ...well, running: false, unknown }));
  assert.match(silent("no answer"), /^fault: the daemon doesn't answer/);
  assert.match(silent("not root"), /^note: the daemon answers root alone/);
  const text = "store: no answer";
  const judged = shown(daemon.judge({ ...well, problems: [text, "firewall: no nft"], notReady: [text] }));
  assert.equal(judged, "fault: not ready: store: no answer\nwarning: firewall: no nft");
  assert.match(
    shown(daemon.judge({ ...well, missing: ["route 10.5.9.0/24"] })),
    /^fault: the kernel lacks 1 entry/,
  );
  assert.match(
    shown(daemon.judge({ ...well, failures: ["a", "b"] })),
    /^fault: the kernel refuses 2 entries/,
  );
});

Deno.test("doctor: secrets, limits, firewall programs, bridges", () => {
  assert.match(shown(secrets.judge([{ path: "/k", mode: 0o644 }])), /^warning: \/k .*everybody/);
  assert.match(shown(secrets.judge([{ path: "/k", mode: 0o640 }])), /^note: \/k .*group/);
  assert.match(shown(secrets.judge([{ path: "/k", mode: 0o600 }])), /^ok/);
  const room = { bytes: 1e6, freeBytes: 1e6, files: 0, freeFiles: 0 };
  const usage = { what: "tracked connections", used: 90, limit: 100, setting: "x", then: "drops" };
  const judge = (used: number) =>
    shown(resources.judge({ folder: "/run", room, usages: [{ ...usage, used }] }));
  assert.match(judge(10), /^ok/);
  assert.match(judge(90), /^warning: 90 of 100 tracked connections: drops$/);
  assert.match(judge(100), /^fault/);
  const full = { folder: "/run", room: { ...room, freeBytes: 0 }, usages: [] };
  assert.match(shown(resources.judge(full)), /^fault: \/run has no room/);
  assert.match(shown(firewallTools.judge({ nft: false, iptables: [], problems: [] })), /^fault: neither/);
  assert.match(
    shown(firewallTools.judge({ nft: true, iptables: [], problems: ["odd"] })),
    /^warning: odd\nok: nft$/,
  );
  const bridges = ["cni0"];
  assert.equal(shown(bridgeNetfilter.judge({ bridges: [], value: undefined, usesServices: false })), "");
  assert.match(shown(bridgeNetfilter.judge({ bridges, value: "1", usesServices: true })), /^ok/);
  assert.match(shown(bridgeNetfilter.judge({ bridges, value: undefined, usesServices: true })), /^warning/);
  assert.match(shown(bridgeNetfilter.judge({ bridges, value: "0", usesServices: false })), /^ok/);
});

Deno.test("doctor: docs/observing.md lists every check with what it looks at, in the same order", async () => {
  const page = await readSource("docs/observing.md");
  const rows = [...page.matchAll(/^\| `([\w.]+)` +\| (.*?) +\|$/gm)].map(([, name, looksAt]) =>
    `${name}: ${looksAt}`
  );
  const checks = CHECKS.map(({ name, looksAt }) => `${name}: ${looksAt}`);
  const first = rows.indexOf(checks[0]!);
  assert.deepEqual(rows.slice(first, first + checks.length), checks);
});

Deno.test("doctor: firewalls: ufw's remedy is ufw's, iptables' and nftables' their own", () => {
  const base = {
    ufw: true,
    firewalld: false,
    zones: "",
    devices: ["flannel.1"],
    ports: [8472],
    networks: [],
  };
  const closed = {
    chain: "INPUT of iptables",
    by: "-P INPUT DROP",
    port: 8472,
    ipProtocol: 17,
    peers: ["a", "b"],
  };
  const remedy = (insert: string, ufw: boolean) =>
    otherFirewalls.judge({ ...base, ufw, closed: [{ ...closed, insert }] })[0]!.remedy;
  assert.deepEqual(remedy("iptables -I INPUT", true), ["ufw allow 8472/udp comment flannel"]);
  assert.deepEqual(remedy("iptables -I INPUT", false), ["iptables -I INPUT -p udp --dport 8472 -j ACCEPT"]);
  assert.deepEqual(remedy("nft insert rule inet f i", true), [
    "nft insert rule inet f i udp dport 8472 accept",
  ]);
  const { port: _, ...ipip } = { ...closed, ipProtocol: 4, peers: [], insert: "iptables -I INPUT" };
  const [finding] = otherFirewalls.judge({ ...base, ufw: false, ports: [], closed: [ipip] });
  assert.equal(finding!.text, "INPUT of iptables drops the tunnel's packets (IP protocol 4)");
  assert.deepEqual(finding!.remedy, ["iptables -I INPUT -p 4 -j ACCEPT"]);
  assert.equal(
    shown(otherFirewalls.judge({ ...base, closed: [] })),
    "ok: ufw is active and lets the tunnel in",
  );
});

Deno.test("doctor: a MAC address that the lease doesn't publish", () => {
  const links = { devices: [], networkd: true, networkManager: false, udev: true, linkFile: "/etc/x.link" };
  assert.match(shown(networkManagers.judge({ ...links, unpublished: [] })), /^ok: .*systemd-networkd, udev$/);
  const unpublished = [{ name: "flannel.1", mac: "02:00:00:00:00:99" }];
  assert.match(
    shown(networkManagers.judge({ ...links, unpublished })),
    /^fault: flannel\.1 has the MAC address/,
  );
});
