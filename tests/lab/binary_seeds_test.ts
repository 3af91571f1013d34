/**
 * The walk-throughs of flannel's documentation, with the built executable: config by etcdctl, start, subnet file,
 * restart under another Network, two daemons on a host.
 */
import assert from "node:assert/strict";
import { builtCommand, useCommand } from "./built_binary.ts";
import { readSubnetFile } from "../../scripts/lab/container.ts";
import { Daemon } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { until } from "../../scripts/lab/process.ts";

const CONFIG = "/coreos.com/network/config";

/** Starts the executable with these options and no others. */
async function start(host: Host, ...args: string[]): Promise<Daemon> {
  using _command = useCommand(await builtCommand());
  return new Daemon(host, args);
}

async function written(path: string, isRight: (text: string) => boolean): Promise<string> {
  let text = "";
  await until(`${path} to be written`, async () => isRight(text = await Deno.readTextFile(path)), 20_000);
  return text;
}

labTest(
  "walk-through: it waits for a config, then takes a subnet, and another one under another Network",
  { hosts: 1, config: null },
  async (lab) => {
    const host = lab.host(1);
    const args = [`-etcd-endpoints=${lab.etcd.endpoint}`, `-subnet-file=${host.subnetFile}`];
    const first = await start(host, ...args);
    await until(
      "it to say that there is no config",
      () => first.count(/config/i) > 0,
      20_000,
    );
    await lab.etcd.ctl("put", CONFIG, `{ "Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}`);
    const text = await written(host.subnetFile, (found) => found.includes("10.5."));
    assert.match(
      text,
      /^FLANNEL_NETWORK=10\.5\.0\.0\/16\nFLANNEL_SUBNET=10\.5\.\d+\.1\/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n$/,
    );
    assert.match((await host.exec(["ip", "-d", "link", "show", "flannel.1"])).stdout, /vxlan id 1 /);
    assert.equal((await first.stop()).code, 0);

    const again = await start(host, ...args);
    await until("the second start", () => again.count(/origin=reused/) > 0, 20_000);
    assert.equal(await Deno.readTextFile(host.subnetFile), text);
    assert.equal((await again.stop()).code, 0);

    await lab.etcd.ctl("put", CONFIG, `{ "Network": "10.6.0.0/16", "Backend": {"Type": "vxlan"}}`);
    const moved = await start(host, ...args);
    const other = await written(host.subnetFile, (found) => found.includes("FLANNEL_NETWORK=10.6.0.0/16"));
    assert.match(other, /^FLANNEL_SUBNET=10\.6\.\d+\.1\/24$/m);
    assert.equal((await moved.stop()).code, 0);
  },
);

labTest(
  "walk-through: two daemons on a host, each with its -subnet-file and -etcd-prefix",
  { hosts: 1, config: null },
  async (lab) => {
    const host = lab.host(1);
    const networks = [
      { prefix: "/vxlan/network", file: `${host.folder}/vxlan.env`, network: "10.5.0.0/16", type: "vxlan" },
      { prefix: "/udp/network", file: `${host.folder}/udp.env`, network: "10.6.0.0/16", type: "udp" },
    ] as const;
    const daemons: Daemon[] = [];
    for (const { prefix, file, network, type } of networks) {
      await lab.etcd.ctl(
        "put",
        `${prefix}/config`,
        `{"Network": "${network}", "Backend": {"Type": "${type}"}}`,
      );
      const endpoint = `-etcd-endpoints=${lab.etcd.endpoint}`;
      daemons.push(await start(host, endpoint, "-subnet-file", file, `-etcd-prefix=${prefix}`));
    }
    for (const { file, network } of networks) {
      await written(file, (text) => text.includes(`FLANNEL_NETWORK=${network}\n`));
    }
    assert.equal((await readSubnetFile(networks[0].file)).mtu, 1450);
    assert.equal((await readSubnetFile(networks[1].file)).mtu, 1472);
    for (const daemon of daemons) assert.equal((await daemon.stop()).code, 0);
  },
);
