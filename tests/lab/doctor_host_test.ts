/** `doctor`: faults of the host itself: no interface, no firewall program, no right, a driver, a daemon that hangs. */
import assert from "node:assert/strict";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { assertFound, examine } from "./doctor_lab.ts";
import { labTest } from "./lab_test_case.ts";

/** As a user without rights; files are still opened as root, so that the program itself can be read. */
const AS_PLAIN_USER = `set -- unshare --user --map-user=1000 --map-group=1000 "$@"`;

/** Whatever starts the daemon has the sbin folders in its PATH: the programs themselves are hidden. */
const NO_FIREWALL = `for name in nft iptables iptables-nft iptables-legacy; do
  if program=$(command -v $name); then mount --bind /dev/null "$(readlink -f "$program")"; fi
done`;

labTest("doctor: no firewall program, a refused backend, a daemon that hangs, no interface, a plain user", {
  hosts: 1,
  config: networkConfig(["ipv4"], { Type: "host-gw" }),
}, async (lab) => {
  const host = lab.host(1);
  const bare = await examine(host, { before: NO_FIREWALL, args: ["-public-ip=192.0.2.9"] });
  assertFound(bare, [
    /^fault firewall: neither nft nor iptables works/,
    /^fault backend: host-gw: /,
  ]);
  assert.equal(bare.code, 1);

  await host.startReady();
  Deno.kill(host.daemon.pid, "SIGSTOP");
  assertFound(await examine(host), [/^fault daemon: the daemon doesn't answer/]);
  Deno.kill(host.daemon.pid, "SIGCONT");
  await host.daemon.stop();

  const away = await examine(host, { args: ["-iface=eth7"] });
  assertFound(away, [/^fault interface: .*eth7/]);
});

labTest("doctor: a network card's driver that breaks checksums of VXLAN, and a user without rights", {
  hosts: 1,
  config: networkConfig(["ipv4"], { Type: "vxlan" }),
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady();
  // No such card can be made here. What is read of one is the driver's link in sysfs, as VMware's looks.
  const vmxnet3 = `d=/sys/devices/virtual/net/eth0
    mount -t tmpfs none $d && mkdir $d/device && ln -s ../../../../bus/pci/drivers/vmxnet3 $d/device/driver`;
  const examined = await examine(host, { before: vmxnet3 });
  assertFound(examined, [
    /^warning checksums: eth0 has the driver vmxnet3, which breaks checksums of VXLAN on port 8472/,
  ]);
  const { remedy, evidence } = examined.all.find(({ check }) => check === "checksums")!;
  assert.ok(evidence.includes("driver of eth0: vmxnet3"), evidence.join("\n"));
  await host.exec(["sh", "-ec", remedy[0]!]);
  const corrected = await examine(host, { before: vmxnet3 });
  assert.ok(!corrected.bad.some((line) => /vmxnet3/.test(line)), corrected.bad.join("\n"));

  const plain = await examine(host, { before: AS_PLAIN_USER });
  assertFound(plain, [/^fault user: not root/]);
});
