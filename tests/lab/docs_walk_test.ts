/** The guides, walked from top to bottom: every command in them is run, or the page says why not. */
import assert from "node:assert/strict";
import { filesBelow, readSource } from "../unit/source_files.ts";
import { CloudLab } from "./cloud_lab.ts";
import { blocksOf, walk } from "./docs_walk.ts";
import { labTest } from "./lab_test_case.ts";

/** The pages that are walked, each in a lab of its own with two hosts and an etcd without a config. */
const PAGES = [
  "README.md",
  "docs/getting-started.md",
  "docs/running.md",
  "docs/leases.md",
  "docs/upgrading.md",
  "docs/troubleshooting.md",
  "docs/security.md",
];

for (const page of PAGES) {
  labTest(
    `${page}: its commands work as they are printed`,
    { hosts: 2, config: null },
    (lab) => walk(lab, page),
  );
}

/** The pages of clouds: what is run on hosts is walked on instances of a fake cloud. */
const CLOUDS = ["aws-vpc", "gce", "ali-vpc", "tencent-vpc"] as const;

for (const cloud of CLOUDS) {
  labTest(
    `docs/${cloud}.md: its commands on hosts work as they are printed, until containers ping each other`,
    { hosts: 2, config: null },
    async (lab) => {
      await using fake = await CloudLab.open(lab, cloud);
      const path = `docs/${cloud}.md`;
      await walk(lab, path, ({ folder }) => ({ ...fake.env, STATE_DIRECTORY: `${folder}/state` }));
      assert.equal((await fake.show()).routes.length, 2);
    },
  );
}

Deno.test("docs: each shell command of each page is run by a test, or the page says why not", async () => {
  const left: string[] = [];
  for (const path of [...await filesBelow(["docs"], ".md"), "README.md", "CONTRIBUTING.md"]) {
    if (PAGES.includes(path) || CLOUDS.some((cloud) => path === `docs/${cloud}.md`)) continue;
    const blocks = blocksOf(await readSource(path));
    left.push(...blocks.filter((one) => one.notRun === undefined).map(({ line }) => `${path}:${line}`));
  }
  assert.deepEqual(left, []);
});

Deno.test("docs walk: comments before a block say where it runs, that it stays, and why it isn't run", () => {
  const page =
    "# A\n\n<!-- host 2 -->\n<!-- stays -->\n```sh\nx\n```\n\nText.\n\n<!-- not run: no cloud -->\n```sh\ny\n```\n";
  assert.deepEqual(blocksOf(page), [
    { text: "x", line: 5, hosts: [2], stays: true },
    { text: "y", line: 12, notRun: "no cloud", hosts: [1], stays: false },
  ]);
  const cloud = "<!-- blocks with aws are not run: a cloud is needed -->\n\n```sh\nid=$(aws z)\n```\n\n" +
    "<!-- stays on both hosts -->\n```sh\nw\n```\n";
  assert.deepEqual(blocksOf(cloud).map(({ notRun }) => notRun), ["a cloud is needed", undefined]);
  assert.deepEqual(blocksOf(cloud).at(-1)?.hosts, [1, 2]);
});
