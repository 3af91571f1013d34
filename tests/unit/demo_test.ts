import assert from "node:assert/strict";
import { DemoUsageError, parseDemoOptions } from "../../scripts/demo/options.ts";
import { Progress } from "../../scripts/demo/progress.ts";
import { type Column, markdownTable, plainTable } from "../../scripts/demo/table.ts";

Deno.test("the demo's options and their defaults", () => {
  assert.deepEqual(parseDemoOptions([]), { hosts: 3, backend: "vxlan", store: "sqlite" });
  assert.deepEqual(parseDemoOptions(["--etcd", "--backend=host-gw", "--hosts", "5"]), {
    hosts: 5,
    backend: "host-gw",
    store: "etcd",
  });
  assert.equal(parseDemoOptions(["--help"]), undefined);
});

Deno.test("an option the demo can't use is named with what it takes", () => {
  const refused = (args: string[], message: RegExp) =>
    assert.throws(
      () => parseDemoOptions(args),
      (error) => error instanceof DemoUsageError && message.test(error.message),
    );
  refused(["--hosts", "1"], /--hosts is "1"; it takes a number from 2 to 16/);
  refused(["--hosts", "three"], /--hosts is "three"/);
  refused(["--backend", "gre"], /"gre"; it takes one of vxlan/);
  refused(["--fast"], /--fast/);
});

const COLUMNS: readonly Column[] = [{ title: "host", align: "left" }, { title: "MTU", align: "right" }];

Deno.test("tables align their columns", () => {
  assert.equal(
    plainTable(COLUMNS, [["h1", "1450"], ["h10", "50"]]),
    "host    MTU\n───────────\nh1     1450\nh10      50",
  );
  assert.equal(markdownTable(COLUMNS, [["h1", "1450"]]), "| host |  MTU |\n| ---- | ---: |\n| h1   | 1450 |");
});

Deno.test("progress: one line a step; a terminal sees it begin, and a failure is marked", async () => {
  const written: string[] = [];
  const clock = [0, 1500, 2000, 2100];
  const make = (isTerminal: boolean) =>
    new Progress({ isTerminal, write: (text) => written.push(text) }, () => clock.shift()!);
  await make(false).step("work", () => Promise.resolve(7), (value) => `${value} done`);
  assert.match(written.join(""), /^ {2}✓ 7 done +1\.5 s\n$/);
  written.length = 0;
  await assert.rejects(make(true).step("work", () => Promise.reject(new Error("no"))), /no/);
  assert.equal(written[0], "  … work");
  assert.match(written[1]!, /✗ work +0\.1 s\n$/);
});
