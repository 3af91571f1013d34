/**
 * What needs a kernel with WireGuard and IPIP, on machines whose own has neither: one check in a virtual machine.
 *
 *     deno task vm [WORD]
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { builtCommand } from "../tests/lab/built_binary.ts";
import { run } from "./lab/process.ts";
import { runInMachine } from "./vm/machine.ts";

const GUEST = fileURLToPath(new URL("./vm/guest.ts", import.meta.url));

// Built and unpacked here: inside, that would take minutes.
const binary = await builtCommand();
await run([binary, "version"]);
const began = performance.now();
const guest = [Deno.execPath(), "run", "-A", "--no-check", "--quiet", "--cached-only", GUEST, ...Deno.args];
const status = await runInMachine(["env", `FLANNELD_BINARY=${binary}`, ...guest]);
const seconds = Math.round((performance.now() - began) / 1000);
console.log(`vm: ${status === 0 ? "all is well" : "FAILED"} after ${seconds} s`);
Deno.exit(status);
