/** What doctor says of the side of a cloud, where the fault is made on the fake: permissions, full tables, silence. */
import assert from "node:assert/strict";
import { networkConfig } from "../../scripts/lab/lab.ts";
import type { CloudName } from "../fakes/lab_cloud.ts";
import { CloudLab } from "./cloud_lab.ts";
import { examine } from "./doctor_lab.ts";
import { labTest } from "./lab_test_case.ts";

/** What differs between the clouds in words. */
interface Cloud {
  readonly name: CloudName;
  /** What a list of routes is called. */
  readonly list: string;
  /** The right that it needs, as doctor names it. */
  readonly permission: RegExp;
  /** What doctor says of a full table; absent: the limit shows only in the answer to a route too many. */
  readonly full?: RegExp;
  /** What it says of an API that is down; absent: the cloud's library tries for longer than a check may take. */
  readonly down?: RegExp;
}

const CLOUDS: readonly Cloud[] = [
  {
    name: "aws-vpc",
    list: "DescribeRouteTables",
    permission: /ec2:DescribeRouteTables/,
  },
  {
    name: "gce",
    list: "compute.routes.list",
    permission: /compute\.routes\.list/,
    full: /Quotas/,
    down: /ECONNREFUSED/,
  },
  {
    name: "ali-vpc",
    list: "DescribeRouteEntryList",
    permission: /vpc:DescribeRouteEntryList/,
  },
  { name: "tencent-vpc", list: "DescribeRouteTables", permission: /vpc:DescribeRouteTables/, full: /ticket/ },
];

for (const { name, list, permission, full, down } of CLOUDS) {
  labTest(`doctor: ${name}: a missing permission, a full table and an API that is down are named`, {
    hosts: 1,
    config: networkConfig(["ipv4"], { Type: name }),
  }, async (lab) => {
    await using fake = await CloudLab.open(lab, name);
    const before = Object.entries(fake.env).map(([key, value]) => `export ${key}='${value}'`).join("\n");
    const cloud = async () =>
      (await examine(lab.host(1), { before })).all.filter(({ check }) => check === "cloud");
    const says = (found: Awaited<ReturnType<typeof cloud>>, severity: string, text: RegExp) => {
      const isSo = found.some((one) =>
        one.severity === severity && text.test(one.text) && one.evidence.length > 0
      );
      assert.ok(isSo, JSON.stringify(found));
    };
    const healthy = await cloud();
    assert.ok(healthy.every(({ severity }) => severity !== "fault"), JSON.stringify(healthy));
    // EC2 checks source and destination of new instances.
    if (name === "aws-vpc") {
      says(healthy, "warning", /checks source and destination and drops containers' packets/);
      assert.match(
        healthy[0]!.remedy.join(),
        /aws ec2 modify-network-interface-attribute .* --no-source-dest-check/,
      );
    }
    await fake.ask({ do: "deny", actions: [list] });
    says(await cloud(), "fault", permission);
    await fake.ask({ do: "deny", actions: [] });
    if (full) {
      const { used } = await fake.show();
      await fake.ask({ do: "set", limit: used });
      says(await cloud(), "fault", full);
    }
    if (down) {
      await fake.ask({ do: "down" });
      says(await cloud(), "warning", down);
    }
  });
}
