/**
 * Carries out checks side by side, each within its time.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { Scene } from "./scene.ts";
import { NotKnown } from "./not_known.ts";
import { type Check, type CheckResult, type Finding, SEVERITIES, type Severity } from "./types.ts";

/** How long one check may take, in milliseconds: more than the store's time-out, which several wait for. */
const CHECK_LIMIT_MS = 8_000;

/** Carries out all checks. @returns Their results, in the order of the checks. Never rejects. */
export async function examine(
  checks: readonly Check[],
  scene: Scene,
  limitMs: number = CHECK_LIMIT_MS,
): Promise<CheckResult[]> {
  const others = checks.map((check) => check.comesLast ? undefined : carryOut(check, scene, limitMs));
  await Promise.all(others);
  return await Promise.all(checks.map((check, index) => others[index] ?? carryOut(check, scene, limitMs)));
}

async function carryOut(check: Check, scene: Scene, limitMs: number): Promise<CheckResult> {
  const began = performance.now();
  const elapsed = () => Math.round(performance.now() - began);
  try {
    const facts = await within(limitMs, async () => await check.read(scene));
    return { check, findings: check.judge(facts), elapsedMs: elapsed() };
  } catch (error) {
    if (error instanceof NotKnown) {
      return { check, findings: [], leftOut: error.message, elapsedMs: elapsed() };
    }
    const finding: Finding = {
      severity: "warning",
      text: `cannot look at ${check.looksAt}: ${messageOf(error)}`,
    };
    return { check, findings: [finding], elapsedMs: elapsed() };
  }
}

/** The outcome of `work`, or an error when it takes longer. */
async function within<T>(limitMs: number, work: () => Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no result within ${limitMs / 1000} s`)), limitMs);
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** How many findings there are of each severity. */
export function countBySeverity(results: readonly CheckResult[]): Record<Severity, number> {
  const counts: Record<Severity, number> = { ok: 0, note: 0, warning: 0, fault: 0 };
  for (const { findings } of results) for (const { severity } of findings) counts[severity]++;
  return counts;
}

/** The worst severity among the findings; ok without any. */
export function worstOf(results: readonly CheckResult[]): Severity {
  const counts = countBySeverity(results);
  return SEVERITIES.findLast((severity) => counts[severity] > 0) ?? "ok";
}
