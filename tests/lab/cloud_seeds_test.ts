/**
 * flannel's first steps in Google's and Alibaba's clouds, as its documents print them: etcd on the first instance, the
 * config, flanneld; then a clone of that instance. The cloud is a fake one that really routes. What differs: etcdctl's
 * `set` is `put` since version 3, and the subnet file is one of the lab's.
 */
import assert from "node:assert/strict";
import type { CloudName } from "../fakes/lab_cloud.ts";
import { CloudLab, instanceId } from "./cloud_lab.ts";
import { readSubnetFile } from "../../scripts/lab/container.ts";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { leaseKey } from "../../scripts/lab/leases.ts";
import { run, until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";

interface FirstSteps {
  readonly cloud: CloudName;
  readonly config: string;
  /** What the document has people set. */
  readonly env: Readonly<Record<string, string>>;
}

const DOCUMENTS: readonly FirstSteps[] = [
  { cloud: "gce", config: `{"Network":"10.40.0.0/16", "Backend": {"Type": "gce"}}`, env: {} },
  {
    cloud: "ali-vpc",
    config: `{"Network":"10.24.0.0/16", "Backend": {"Type": "ali-vpc"}}`,
    env: { ACCESS_KEY_ID: "LTAITEST", ACCESS_KEY_SECRET: "ali-secret+key" },
  },
];

for (const { cloud, config, env } of DOCUMENTS) {
  labTest(
    `walk-through: flannel's document for ${cloud}: one instance, a clone of it, their routes`,
    { hosts: 2, config: null },
    async (lab) => {
      await using fake = await CloudLab.open(lab, cloud);
      const [one, two] = [lab.host(1), lab.host(2)];
      const address = one.addresses.ipv4!;
      await giveFlanneld(one);
      const etcd = inShell(
        one,
        `etcd --advertise-client-urls http://$INTERNAL_IP:2379 --listen-client-urls http://0.0.0.0:2379`,
        { INTERNAL_IP: address },
      );
      const ctl = (words: string) => one.exec(["sh", "-ec", `ETCDCTL_API=3 etcdctl ${words}`]);
      await until("etcd to answer", () => ctl("endpoint health").then(() => true, () => false), 20_000);
      await ctl(`put /coreos.com/network/config '${config}'`);
      const daemonEnv = (host: Host) => ({
        ...fake.env,
        ...env,
        STATE_DIRECTORY: `${host.folder}/state`,
        FLANNELD_SUBNET_FILE: host.subnetFile,
      });
      const first = inShell(one, "./flanneld --etcd-endpoints=http://127.0.0.1:2379", daemonEnv(one));
      await written(one);

      // A clone has all of its original's files but those of /run; and flanneld of the clone isn't that of the original.
      await giveFlanneld(two);
      await run(["cp", "-a", `${one.folder}/state`, two.folder]);
      const second = inShell(two, `./flanneld --etcd-endpoints=http://${address}:2379`, daemonEnv(two));
      await written(two);

      // "Check that the subnet lease acquired by each of the hosts has been added!"
      const { stdout } = await ctl("get --prefix --keys-only /coreos.com/network/subnets/");
      const leases = await Promise.all([one, two].map(prefixOf));
      assert.deepEqual(
        stdout.match(/[\d.]+-\d+/g)?.sort(),
        leases.map((one) => one.replace("/", "-")).sort(),
      );
      // "Confirm that the subnet route table has entries for the lease acquired by each of the subnets."
      const wanted = [one, two].map((host, i) => `${leases[i]} ${instanceId(host)}`).sort();
      assert.deepEqual([...(await fake.show()).routes].sort(), wanted);
      await checkPings(lab);
      for (const child of [second, first, etcd]) child.kill("SIGTERM");
      await Promise.all([second, first, etcd].map((child) => child.output()));
    },
  );
}

/** The executable lies in the person's folder. */
async function giveFlanneld(host: Host): Promise<void> {
  const words = flanneldCommand().map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  await Deno.mkdir(host.folder, { recursive: true });
  await Deno.writeTextFile(`${host.folder}/flanneld`, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
}

/** Starts a command in the person's folder, as another terminal does. */
function inShell(host: Host, command: string, env: Readonly<Record<string, string>>): Deno.ChildProcess {
  return host.spawn(["sh", "-ec", `cd '${host.folder}'; exec ${command} >>said 2>&1`], env);
}

async function written(host: Host): Promise<void> {
  await until(`the subnet file of ${host.name}`, async () => {
    await readSubnetFile(host.subnetFile);
    return true;
  }, 30_000).catch(async (error) => {
    throw new Error(`${error.message}\n${await Deno.readTextFile(`${host.folder}/said`)}`);
  });
}

async function prefixOf(host: Host): Promise<string> {
  return leaseKey((await readSubnetFile(host.subnetFile)).subnets.ipv4!).replace("-", "/");
}

async function checkPings(lab: Lab): Promise<void> {
  await lab.connect();
  await lab.pingAll();
}
