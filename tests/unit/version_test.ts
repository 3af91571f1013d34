import assert from "node:assert/strict";
import { headCommit } from "../../lib/git_head.ts";
import { COMMIT, VERSION, VERSION_TEXT } from "../../lib/version.ts";

const COMMIT_1 = "1a2b3c4d5e6f7081920a1b2c3d4e5f6071829304";

function reader(files: Readonly<Record<string, string>>): (path: string) => string | undefined {
  return (path) => files[path];
}

Deno.test("version: it is the one of deno.json, with the commit where that is known", async () => {
  const { version } = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));
  assert.equal(VERSION, version);
  assert.equal(VERSION_TEXT, COMMIT === undefined ? version : `${version}+${COMMIT}`);
  assert.match(VERSION_TEXT, /^\d+\.\d+\.\d+(\+[0-9a-f]{12})?$/);
});

Deno.test("version: the commit of a branch, of a packed branch, and of a detached HEAD", () => {
  const head = "ref: refs/heads/main\n";
  assert.equal(headCommit("g", reader({ "g/HEAD": head, "g/refs/heads/main": `${COMMIT_1}\n` })), COMMIT_1);
  const packed = `# pack-refs with: peeled\n${
    "0".repeat(40)
  } refs/heads/other\n${COMMIT_1} refs/heads/main\n`;
  assert.equal(headCommit("g", reader({ "g/HEAD": head, "g/packed-refs": packed })), COMMIT_1);
  assert.equal(headCommit("g", reader({ "g/HEAD": `${COMMIT_1}\n` })), COMMIT_1);
});

Deno.test("version: no checkout, an empty one and a strange HEAD give no commit", () => {
  assert.equal(headCommit("g", reader({})), undefined);
  assert.equal(headCommit("g", reader({ "g/HEAD": "ref: refs/heads/main\n" })), undefined);
  assert.equal(headCommit("g", reader({ "g/HEAD": "what is this" })), undefined);
});
