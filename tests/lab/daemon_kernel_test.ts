/** What stands in the kernel, the store and the subnet file while the daemon runs: the contract, to the letter. */
import assert from "node:assert/strict";
import { labTest } from "./lab_test_case.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { leaseKey, putLease, readLeases, vxlanValue } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";
import { readSubnetFile } from "../../scripts/lab/container.ts";

async function linkOf(host: Host, device: string) {
  const [link] = await host.ipJson("link", "show", device);
  return link as {
    address: string;
    mtu: number;
    linkinfo: { info_kind: string; info_data: Record<string, unknown> };
  };
}

async function ownKey(host: Host): Promise<string> {
  return leaseKey((await readSubnetFile(host.subnetFile)).subnets.ipv4!);
}

function config(backend: Record<string, string | number | boolean>) {
  return { Network: "10.5.0.0/16", Backend: backend };
}

labTest("vxlan: lease, subnet file, device and a peer's entries", { hosts: 1 }, async (lab) => {
  const host = lab.host(1);
  const file = await host.startReady();
  const subnet = file.subnets.ipv4!.replace(/\.1\/24$/, "");
  assert.equal(
    file.text,
    `FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=${subnet}.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n`,
  );
  assert.equal((await Deno.stat(host.subnetFile)).mode! & 0o777, 0o644);

  const { address: mac, mtu, linkinfo } = await linkOf(host, "flannel.1");
  assert.equal(linkinfo.info_kind, "vxlan");
  const { id, local, link, port, learning } = linkinfo.info_data;
  assert.deepEqual({ id, local, link, port, learning, mtu }, {
    ...{ id: 1, local: host.addresses.ipv4, link: "eth0", port: 8472, learning: false, mtu: 1450 },
  });
  const leases = await readLeases(lab);
  assert.deepEqual([...leases], [[`${subnet}.0-24`, vxlanValue(host.addresses.ipv4!, mac)]]);
  const { stdout } = await host.exec(["ip", "-4", "-o", "address", "show", "dev", "flannel.1"]);
  assert.match(stdout, new RegExp(`inet ${subnet}\\.0/32 `));

  await putLease(lab, "10.5.0.0-24", vxlanValue("172.30.0.77", "3e:4b:bc:75:ce:43"));
  await until("the peer's route", async () => (await host.routes("-4", "flannel.1")).length > 0, 2000);
  assert.match((await host.routes("-4", "flannel.1"))[0]!, /^10\.5\.0\.0\/24 .*via 10\.5\.0\.0 .*onlink/);
  assert.deepEqual(await host.neighbours("flannel.1"), ["10.5.0.0 lladdr 3e:4b:bc:75:ce:43 PERMANENT"]);
  assert.match(
    (await host.fdb("flannel.1")).join("\n"),
    /^3e:4b:bc:75:ce:43 dst 172\.30\.0\.77 self permanent/m,
  );
});

labTest("vxlan: VNI, Port, Learning, GBP and MTU reach the device", {
  hosts: 1,
  config: config({ Type: "VXLAN", VNI: 42, Port: 4789, Learning: true, GBP: true, MTU: 1400 }),
}, async (lab) => {
  const host = lab.host(1);
  const file = await host.startReady();
  assert.equal(file.mtu, 1400);
  const { mtu, linkinfo } = await linkOf(host, "flannel.42");
  const { id, port, learning, gbp } = linkinfo.info_data;
  assert.deepEqual({ id, port, learning, gbp, mtu }, {
    id: 42,
    port: 4789,
    learning: true,
    gbp: true,
    mtu: 1400,
  });
});

labTest(
  "host-gw: the lease's value, the MTU, no device",
  { hosts: 1, config: config({ Type: "host-gw" }) },
  async (lab) => {
    const host = lab.host(1);
    assert.equal((await host.startReady()).mtu, 1500);
    assert.deepEqual([...await readLeases(lab)], [[
      await ownKey(host),
      `{"PublicIP":"${host.addresses.ipv4}","PublicIPv6":null,"BackendType":"host-gw"}`,
    ]]);
    assert.deepEqual((await host.ipJson("link", "show", "type", "vxlan")).filter((link) => link.ifname), []);
  },
);

labTest("alloc: the lease's value, the MTU, nothing in the kernel", {
  hosts: 2,
  config: config({ Type: "alloc" }),
}, async (lab) => {
  const before = await lab.host(1).routes();
  const [file] = await lab.startAll();
  assert.equal(file!.mtu, 1500);
  for (const host of lab.hosts) {
    const value = (await readLeases(lab)).get(await ownKey(host));
    assert.equal(value, `{"PublicIP":"${host.addresses.ipv4}","PublicIPv6":null}`);
  }
  assert.deepEqual(await lab.host(1).routes(), before);
});

labTest("host-gw refuses a public address that isn't the interface's", {
  hosts: 1,
  config: config({ Type: "host-gw" }),
}, async (lab) => {
  const daemon = lab.host(1).start({ args: ["-public-ip=192.0.2.7"] });
  await assertEnds(lab, daemon.ended(), 1);
  assert.match(daemon.log, /192\.0\.2\.7/);
});

async function assertEnds(lab: Lab, end: Promise<{ code: number }>, code: number): Promise<void> {
  assert.equal((await end).code, code, lab.logs());
}
