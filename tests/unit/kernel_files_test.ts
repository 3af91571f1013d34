import assert from "node:assert/strict";
import { filesBelow, readSource } from "./source_files.ts";

/** A file call of Deno or Node whose arguments, up to the statement's end, name a file of /proc or /sys. */
const FILE_CALL =
  /(?:Deno\.(?:read|write|open|stat|lstat|truncate|copy)\w*|(?:readFile|writeFile|open)(?:Sync)?)\([^;]*?["'`]\/(?:proc|sys)\//g;

function faultsOf(text: string): string[] {
  return text.match(FILE_CALL) ?? [];
}

// doctor called ip_forward off where it was 1, and the udp backend left accept_local at 0: both only when built.
Deno.test("/proc and /sys: the program opens them through lib/ffi/kernel_file.ts, not with Deno's calls", async () => {
  const files = await filesBelow(["lib", "backends"]);
  assert.ok(files.length > 50);
  const faults: string[] = [];
  for (const path of [...files, "main.ts"]) {
    for (const fault of faultsOf(await readSource(path))) faults.push(`${path}: ${fault}`);
  }
  assert.deepEqual(faults, []);
});

Deno.test("/proc and /sys: such calls are found", () => {
  assert.equal(faultsOf("await Deno.readTextFile(`/proc/sys/${name}`)").length, 1);
  assert.equal(faultsOf('Deno.writeTextFileSync(\n  "/sys/class/net",\n  "1")').length, 1);
  assert.equal(faultsOf('readKernelFile("/proc/self/stat"); Deno.readTextFile(path)').length, 0);
});
