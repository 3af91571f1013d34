/**
 * Runs inside the virtual machine: one step after the other, each with its time.
 *
 * @module
 */
import { equalSteps } from "./equal_steps.ts";
import { ipipSteps } from "./ipip_steps.ts";
import type { Step } from "./step.ts";
import { wireguardSteps } from "./wireguard_steps.ts";

const steps: readonly Step[] = [...wireguardSteps, ...ipipSteps, ...equalSteps];
let failures = 0;
for (const { name, run, isAskedFor = false } of steps) {
  if (!Deno.args.every((word) => name.includes(word)) || (isAskedFor && Deno.args.length === 0)) continue;
  const began = performance.now();
  try {
    const detail = await run();
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    console.log(`ok    ${name} (${seconds} s)${detail ? `: ${detail}` : ""}`);
  } catch (error) {
    failures++;
    console.log(`FAIL  ${name}: ${error instanceof Error ? error.stack : error}`);
  }
}
Deno.exit(failures === 0 ? 0 : 1);
