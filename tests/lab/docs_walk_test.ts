/** The guides, walked from top to bottom: every command in them is run, or the page says why not. */
import assert from "node:assert/strict";
import { filesBelow, readSource } from "../unit/source_files.ts";
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

Deno.test("docs: each shell command of each page is run by a test, or the page says why not", async () => {
  const left: string[] = [];
  for (const path of [...await filesBelow(["docs"], ".md"), "README.md", "CONTRIBUTING.md"]) {
    if (PAGES.includes(path)) continue;
    const blocks = blocksOf(await readSource(path));
    left.push(...blocks.filter((one) => one.notRun === undefined).map(({ line }) => `${path}:${line}`));
  }
  assert.deepEqual(left, []);
});

Deno.test("docs walk: comments before a block say where it runs, that it stays, and why it isn't run", () => {
  const page =
    "# A\n\n<!-- host 2 -->\n<!-- stays -->\n```sh\nx\n```\n\nText.\n\n<!-- not run: no cloud -->\n```sh\ny\n```\n";
  assert.deepEqual(blocksOf(page), [
    { text: "x", line: 5, host: 2, stays: true },
    { text: "y", line: 12, notRun: "no cloud", host: 1, stays: false },
  ]);
  const none = blocksOf("<!-- nothing here is run: a cloud is needed -->\n\n```sh\nz\n```\n");
  assert.deepEqual(none.map(({ notRun }) => notRun), ["a cloud is needed"]);
});
