import assert from "node:assert/strict";
import { filesBelow, readSource } from "./source_files.ts";

/** A debug line, up to the statement's end, that carries what went wrong. */
const FAILURE_AT_DEBUG = /\.debug\((?!\))[^;]*?(?:\b(?:error|cause|because|failure)\b|messageOf)/gi;

// That accept_local couldn't be set, and senders hung, stood in the log at -v 1 only.
Deno.test("log: a failure is a warning or a problem, never a debug line", async () => {
  const files = await filesBelow(["lib", "backends"]);
  assert.ok(files.length > 50);
  for (const path of files) {
    assert.deepEqual((await readSource(path)).match(FAILURE_AT_DEBUG) ?? [], [], path);
  }
});

Deno.test("log: such lines are found", () => {
  const bad = ['log.debug("Cannot set it", { error: messageOf(error) });', "log.debug(error.message)"];
  for (const text of bad) assert.equal(text.match(FAILURE_AT_DEBUG)?.length, 1);
  assert.equal('log.debug("Kernel entries reconciled", { operations })'.match(FAILURE_AT_DEBUG), null);
});
