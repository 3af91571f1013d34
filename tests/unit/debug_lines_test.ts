import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const CHECKOUT = fileURLToPath(new URL("../../", import.meta.url));

/** A debug line, up to the statement's end, that carries what went wrong. */
const FAILURE_AT_DEBUG = /\.debug\((?!\))[^;]*?(?:\b(?:error|cause|because|failure)\b|messageOf)/gi;

async function sources(path: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(path)) {
    if (isDirectory) found.push(...await sources(`${path}/${name}`));
    else if (name.endsWith(".ts")) found.push(`${path}/${name}`);
  }
  return found;
}

// That accept_local couldn't be set, and senders hung, stood in the log at -v 1 only.
Deno.test("log: a failure is a warning or a problem, never a debug line", async () => {
  const files = (await Promise.all(["lib", "backends"].map((folder) => sources(CHECKOUT + folder)))).flat();
  assert.ok(files.length > 50);
  for (const path of files) {
    assert.deepEqual((await Deno.readTextFile(path)).match(FAILURE_AT_DEBUG) ?? [], [], path);
  }
});

Deno.test("log: such lines are found", () => {
  const bad = ['log.debug("Cannot set it", { error: messageOf(error) });', "log.debug(error.message)"];
  for (const text of bad) assert.equal(text.match(FAILURE_AT_DEBUG)?.length, 1);
  assert.equal('log.debug("Kernel entries reconciled", { operations })'.match(FAILURE_AT_DEBUG), null);
});
