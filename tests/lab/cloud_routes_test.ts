/**
 * A cloud that really routes: containers of three hosts reach each other through the router's routes, and those
 * are the fake cloud's table.
 */
import assert from "node:assert/strict";
import type { CloudName } from "../fakes/lab_cloud.ts";
import { CloudLab, instanceId } from "./cloud_lab.ts";
import type { SubnetFile } from "../../scripts/lab/container.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { labsAtOnce } from "./lab_test_case.ts";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import { deleteLease, leaseKey } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";

const CLOUDS: readonly CloudName[] = ["aws-vpc", "gce", "ali-vpc", "tencent-vpc"];

function prefixOf(file: SubnetFile): string {
  return leaseKey(file.subnets.ipv4!).replace("-", "/");
}

labsAtOnce(
  "hosts join, restart, are replaced and leave, and containers reach each other",
  CLOUDS.map((cloud) => ({
    name: cloud,
    options: { hosts: 3, config: { Network: "10.5.0.0/16", Backend: { Type: cloud } } },
    body: (lab) => comeAndGo(lab, cloud),
  })),
);

/** What a list of routes is called. */
const LIST: Readonly<Record<CloudName, string>> = {
  "aws-vpc": "DescribeRouteTables",
  "gce": "compute.routes.list",
  "ali-vpc": "DescribeRouteEntryList",
  "tencent-vpc": "DescribeRouteTables",
};

/** Waits until the hosts have looked at the table so many times more: each one does so every second. */
async function looks(fake: CloudLab, times: number): Promise<void> {
  const count = async () => (await fake.show()).calls.filter((call) => call === LIST[fake.name]).length;
  const before = await count();
  await until("the hosts to look at the table", async () => await count() >= before + times, 20_000);
}

/** A network of three hosts and their subnets. */
interface Network {
  readonly lab: Lab;
  readonly fake: CloudLab;
  readonly prefixes: readonly string[];
}

async function comeAndGo(lab: Lab, cloud: CloudName): Promise<void> {
  await using fake = await CloudLab.open(lab, cloud);
  await fake.ask({ do: "set", faults: { operation: 300 } });
  const network = { lab, fake, prefixes: await join(lab, fake) };
  await restart(network);
  const reborn = await replace(network);
  await takeRouteAway(network);
  await leave(network, reborn);
  await cleanUpTwice(network);
}

/** @returns The hosts' subnets. */
async function join(lab: Lab, fake: CloudLab): Promise<string[]> {
  for (const host of lab.hosts) fake.start(host);
  const files = await Promise.all(lab.hosts.map((host) => host.waitReady()));
  const prefixes = files.map(prefixOf);
  const wanted = lab.hosts.map((host, index) => `${prefixes[index]} ${instanceId(host)}`).sort();
  assert.deepEqual([...(await fake.show()).routes].sort(), wanted);
  await lab.connect();
  await lab.pingAll();
  return prefixes;
}

/** Restart: the same subnet, and not one change. */
async function restart({ lab, fake, prefixes }: Network): Promise<void> {
  await fake.ask({ do: "forgetCalls" });
  await lab.host(1).daemon.stop();
  assert.equal(prefixOf(await fake.startReady(lab.host(1))), prefixes[0]);
  await looks(fake, 6);
  assert.deepEqual((await fake.show()).changes, []);
  await lab.pingAll();
}

/** The instance is replaced by another one with the same address, and so the same subnet. @returns Its id. */
async function replace({ lab, fake, prefixes }: Network): Promise<string> {
  await lab.host(3).daemon.kill();
  await fake.ask({ do: "terminate", args: [instanceId(lab.host(3))] });
  const reborn = instanceId(lab.host(3), 2);
  await fake.ask({ do: "addInstance", args: [reborn, lab.host(3).addresses.ipv4!] });
  assert.equal(prefixOf(await fake.startReady(lab.host(3))), prefixes[2]);
  assert.ok((await fake.show()).routes.includes(`${prefixes[2]} ${reborn}`));
  await lab.pingAll();
  return reborn;
}

/** Somebody takes the route of host 2 away. */
async function takeRouteAway({ lab, fake, prefixes }: Network): Promise<void> {
  await fake.ask({ do: "addRoute", args: [prefixes[1]!, instanceId(lab.host(1))] });
  await fake.untilRoutes(
    "host 2 to take its route back",
    (routes) => routes.includes(`${prefixes[1]} ${instanceId(lab.host(2))}`),
  );
  await lab.pingAll();
}

/** A host leaves for good: its black hole is cleaned, others that look like it are not. */
async function leave({ lab, fake, prefixes }: Network, reborn: string): Promise<void> {
  await fake.ask({ do: "addRoute", args: ["10.99.0.0/24", "i-gone"] });
  await lab.host(3).daemon.kill();
  await fake.ask({ do: "terminate", args: [reborn] });
  await looks(fake, 6);
  assert.ok((await fake.show()).routes.includes(`${prefixes[2]} ${reborn}`), "a leased black hole stays");
  await deleteLease(lab, prefixes[2]!.replace("/", "-"));
  await fake.untilRoutes(
    "the black hole to go",
    (routes) => !routes.some((r) => r.startsWith(prefixes[2]!)),
  );
  assert.ok((await fake.show()).routes.includes("10.99.0.0/24 i-gone"));
}

/** Cleaned up, a host leaves nothing of its own, twice. */
async function cleanUpTwice({ lab, fake, prefixes }: Network): Promise<void> {
  await lab.host(2).daemon.stop();
  for (let times = 0; times < 2; times++) {
    const words = [...flanneldCommand(), "cleanup", ...lab.host(2).commonArgs];
    const env = Object.entries(fake.env).map(([key, value]) => `${key}=${value}`);
    await lab.host(2).exec(["env", ...env, ...words]);
  }
  const left = (await fake.show()).routes;
  assert.deepEqual(
    [...left].sort(),
    [`${prefixes[0]} ${instanceId(lab.host(1))}`, "10.99.0.0/24 i-gone"].sort(),
  );
}
