/**
 * What needs a kernel with WireGuard and IPIP, on machines whose own has neither: one check in a virtual machine.
 *
 *     deno task vm [WORD]
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { runInMachine } from "./vm/machine.ts";

const GUEST = fileURLToPath(new URL("./vm/guest.ts", import.meta.url));
const began = performance.now();
const status = await runInMachine([
  Deno.execPath(),
  "run",
  "-A",
  "--no-check",
  "--quiet",
  GUEST,
  ...Deno.args,
]);
console.log(
  `vm: ${status === 0 ? "all is well" : "FAILED"} after ${Math.round((performance.now() - began) / 1000)} s`,
);
Deno.exit(status);
