/** What clouds do to people: full tables, throttling, missing permissions, expired keys, silence, races. */
import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/config/types.ts";
import type { CloudName } from "../fakes/lab_cloud.ts";
import { CloudLab, instanceId } from "./cloud_lab.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labsAtOnce } from "./lab_test_case.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { delay, until } from "../../scripts/lab/process.ts";

/** What differs between the clouds in words. */
interface Cloud {
  readonly name: CloudName;
  /** The action that makes a route, as the fake denies it and as the daemon names it. */
  readonly denied: string;
  readonly permission: RegExp;
  readonly full: RegExp;
  /** What a list is called. */
  readonly list: string;
}

const CLOUDS: readonly Cloud[] = [
  {
    name: "aws-vpc",
    denied: "CreateRoute",
    permission: /ec2:CreateRoute/,
    full: /has \d+ routes?.*limit.*Service Quotas.*vxlan/,
    list: "DescribeRouteTables",
  },
  {
    name: "gce",
    denied: "compute.routes.insert",
    permission: /compute\.routes\.create/,
    full: /has \d+ routes?.*limit is \d+.*Quotas.*vxlan/,
    list: "compute.routes.list",
  },
  {
    name: "ali-vpc",
    denied: "CreateRouteEntry",
    permission: /vpc:CreateRouteEntry/,
    full: /has \d+ routes?.*limit.*Quota Center.*vxlan/,
    list: "DescribeRouteEntryList",
  },
  {
    name: "tencent-vpc",
    denied: "CreateRoutes",
    permission: /vpc:CreateRoutes/,
    full: /has \d+ routes?.*limit is \d+.*ticket.*vxlan/,
    list: "DescribeRouteTables",
  },
];

/** Waits for a line of the host's log: a problem whose text changes is logged every 10 s, when it is tried again. */
async function untilLogged(host: Host, what: RegExp, seconds = 40): Promise<void> {
  await until(`${host.name} to log ${what}`, () => {
    assert.ok(host.daemon.isRunning, `flanneld ended:\n${host.daemon.log}`);
    return what.test(host.daemon.log);
  }, seconds * 1000);
}

function configFor({ name }: Cloud): JsonObject {
  return { Network: "10.5.0.0/16", Backend: { Type: name } };
}

/** A test in each cloud. */
function cloudsTest(
  name: string,
  body: (lab: Lab, cloud: Cloud) => Promise<void>,
  configOf: (cloud: Cloud) => JsonObject | null = configFor,
): void {
  labsAtOnce(
    name,
    CLOUDS.map((cloud) => ({
      name: cloud.name,
      options: { hosts: 2, config: configOf(cloud) },
      body: (lab) => body(lab, cloud),
    })),
  );
}

cloudsTest(
  "a full table, a missing permission, silence at start: hosts wait, say why, go on",
  async (lab, cloud) => {
    await using fake = await CloudLab.open(lab, cloud.name);
    const [a, b] = [lab.host(1), lab.host(2)];
    // Silence, then a permission that is missing.
    await fake.ask({ do: "down" });
    await fake.ask({ do: "deny", actions: [cloud.denied] });
    fake.start(a);
    await untilLogged(a, /ECONNREFUSED/);
    assert.equal(await a.probe("/readyz"), 503);
    await fake.ask({ do: "up" });
    await untilLogged(a, cloud.permission);
    assert.equal(await a.probe("/readyz"), 503);
    await fake.ask({ do: "deny", actions: [] });
    await a.waitReady();
    // A full table.
    const { used } = await fake.show();
    await fake.ask({ do: "set", limit: used });
    fake.start(b);
    await untilLogged(b, cloud.full);
    assert.equal(await b.probe("/readyz"), 503);
    assert.equal((await fake.show()).used, used);
    await fake.ask({ do: "set", limit: used + 1 });
    await b.waitReady();
    await lab.connect();
    await lab.pingAll();
  },
);

cloudsTest(
  "throttled, keys expired and silence in the middle: routes stay, and are kept again",
  async (lab, cloud) => {
    await using fake = await CloudLab.open(lab, cloud.name);
    const [a, b] = [lab.host(1), lab.host(2)];
    await fake.ask({ do: "set", faults: { throttle: 4, lag: 500 } });
    for (const host of lab.hosts) fake.start(host);
    await Promise.all(lab.hosts.map((host) => host.waitReady(40_000)));
    await lab.connect();
    await lab.pingAll();
    const before = [...(await fake.show()).routes].sort();
    const repaired = async (what: string) => {
      const own = before.find((route) => route.endsWith(instanceId(a)))!;
      await fake.ask({ do: "addRoute", args: [own.split(" ")[0]!, instanceId(b)] });
      await fake.untilRoutes(what, (routes) => routes.includes(own), 40);
    };
    await fake.ask({ do: "expireCredentials" });
    await repaired("the route to be taken back with new keys");
    await untilLogged(a, /pointed elsewhere, corrected/);
    await fake.ask({ do: "down" });
    await until("host 1 to notice the silence", async () => {
      return /cloud_retries_total\{[^}]*"unavailable"/.test(await a.fetchText("/metrics"));
    }, 20_000);
    assert.equal(await a.probe("/readyz"), 200);
    await lab.pingAll();
    await fake.ask({ do: "up" });
    await repaired("the route to be taken back after the silence");
    await lab.pingAll();
    assert.deepEqual([...(await fake.show()).routes].sort(), before);
    for (const host of [a, b]) {
      assert.match(await host.fetchText("/metrics"), /flannel_cloud_retries_total\{[^}]*\} [1-9]/);
      assert.doesNotMatch(host.daemon.log, /ya29|role-secret|sts-token|token-of-|Bearer/);
    }
  },
);

// A network with one subnet in two stores' prefixes: two daemons that both think that it is theirs.
cloudsTest(
  "two daemons that race for one entry leave one, and the one that stays has it",
  async (lab, cloud) => {
    await using fake = await CloudLab.open(lab, cloud.name);
    const only = { ...configFor(cloud), SubnetMin: "10.5.7.0", SubnetMax: "10.5.7.0" };
    for (const host of lab.hosts) {
      await lab.etcd.ctl("put", `/race${host.number}/config`, JSON.stringify(only));
    }
    for (const host of lab.hosts) fake.start(host, `-etcd-prefix=/race${host.number}`);
    await Promise.all(lab.hosts.map((host) => host.waitReady(40_000)));
    assert.equal((await fake.show()).routes.length, 1);
    assert.ok(lab.hosts.every((host) => host.daemon.isRunning));
    await lab.host(1).daemon.stop();
    const wanted = `10.5.7.0/24 ${instanceId(lab.host(2))}`;
    await fake.untilRoutes("the one that stays to have it", (routes) => routes.includes(wanted), 40);
    await fake.ask({ do: "forgetCalls" });
    await until("some passes", async () => {
      return (await fake.show()).calls.filter((call) => call === cloud.list).length >= 3;
    }, 20_000);
    await delay(100);
    assert.deepEqual((await fake.show()).changes, []);
    assert.deepEqual((await fake.show()).routes, [wanted]);
  },
  () => null,
);
