import assert from "node:assert/strict";
import {
  CommandError,
  NOT_EXECUTABLE,
  NOT_FOUND,
  systemRunner,
  TIMED_OUT,
} from "../../lib/firewall/command.ts";

Deno.test("firewall command: input goes in, output and status come back", async () => {
  const run = systemRunner();
  const long = "rule\n".repeat(100_000);
  assert.deepEqual(await run("cat", [], long), { code: 0, stdout: long, stderr: "" });
  const failed = await run("ls", ["/nowhere at all; echo hello"]);
  assert.equal(failed.code, 2);
  assert.match(failed.stderr, /nowhere at all; echo hello/);
});

Deno.test("firewall command: a program that doesn't read its input is judged by its status", async () => {
  const result = await systemRunner()("false", [], "x".repeat(1_000_000));
  assert.equal(result.code, 1);
});

Deno.test("firewall command: a missing program is a status, a hanging one is ended", async () => {
  const missing = await systemRunner()("no-such-program", []);
  assert.equal(missing.code, NOT_FOUND);
  assert.match(missing.stderr, /no-such-program: not found/);
  assert.equal((await systemRunner({ path: "/nowhere" })("cat", [])).code, NOT_FOUND);
  const hanging = await systemRunner({ timeout: 50 })("sleep", ["60"]);
  assert.equal(hanging.code, TIMED_OUT);
});

// Only the program was ended; what it had started held its output open, and the pass waited on.
for (
  const [what, script] of [["waits for it", "sleep 60 & wait"], ["ends before it", "sleep 60 &"]] as const
) {
  Deno.test(`firewall command: a child of a program is ended too, also where the program ${what}`, async () => {
    const began = performance.now();
    const { stderr } = await systemRunner({ timeout: 100 })("sh", ["-c", script]);
    assert.match(stderr, /ended after 100 ms/);
    assert(performance.now() - began < 5_000);
  });
}

Deno.test("firewall command: a program that can't be started is a status with the cause", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/broken`, "#!/no/such/interpreter\n", { mode: 0o755 });
    const result = await systemRunner({ path: folder })("broken", []);
    assert.equal(result.code, NOT_EXECUTABLE);
    assert.match(result.stderr, /broken/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("firewall command: a prefix stands before the program", async () => {
  const run = systemRunner({ prefix: ["/usr/bin/env", "WHO=me"] });
  assert.equal((await run("printenv", ["WHO"])).stdout, "me\n");
});

Deno.test("firewall command: an error names program, arguments, status and cause", () => {
  const error = new CommandError("nft", ["-f", "-"], {
    code: 1,
    stdout: "",
    stderr: "Operation not permitted\n",
  });
  assert.equal(error.message, "nft -f - failed with status 1: Operation not permitted");
});
