import assert from "node:assert/strict";
import { LONGEST, longestFirst } from "../../scripts/test_order.ts";

Deno.test("test order: the files that take longest come first, the others stay in order", () => {
  const files = ["tests/lab/a_test.ts", LONGEST[1]!, "tests/lab/b_test.ts", LONGEST[0]!];
  assert.deepEqual(longestFirst(files), [
    LONGEST[0],
    LONGEST[1],
    "tests/lab/a_test.ts",
    "tests/lab/b_test.ts",
  ]);
});

Deno.test("test order: every file that it names is there", async () => {
  for (const path of LONGEST) {
    assert.ok((await Deno.stat(new URL(`../../${path}`, import.meta.url))).isFile, path);
  }
});
