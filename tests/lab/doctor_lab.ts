/**
 * `doctor` on a host of a lab.
 *
 * @module
 */
import assert from "node:assert/strict";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";

/** A finding as `doctor -json` prints it. */
export interface ShownFinding {
  readonly check: string;
  readonly severity: string;
  readonly text: string;
  readonly evidence: readonly string[];
  readonly remedy: readonly string[];
}

/** What doctor found. */
export interface Examined {
  readonly code: number;
  readonly all: readonly ShownFinding[];
  /** Warnings and faults, a line each. */
  readonly bad: readonly string[];
}

/** How doctor is run. */
export interface ExamineOptions {
  readonly args?: readonly string[];
  /** A script that runs first, in a mount namespace of its own. */
  readonly before?: string;
}

/** Runs doctor on a host. */
export async function examine(
  host: Host,
  { args = [], before = "" }: ExamineOptions = {},
): Promise<Examined> {
  const command = [...flanneldCommand(), "doctor", "-json", ...host.commonArgs, ...args];
  const script = `set -e\n${before}\nexec "$@"`;
  const { stdout, stderr, code } = await host.exec(["sh", "-c", script, "sh", ...command], { mayFail: true });
  assert.equal(stderr, "");
  const { checks } = JSON.parse(stdout);
  const all: ShownFinding[] = checks.flatMap((
    { name, findings }: { name: string; findings: ShownFinding[] },
  ) => findings.map((finding) => ({ ...finding, check: name })));
  const bad = all.filter(({ severity }) => severity === "warning" || severity === "fault")
    .map(({ check, severity, text }) => `${severity} ${check}: ${text}`);
  return { code, all, bad };
}

/** Asserts that each pattern is the text of one bad finding, which has evidence and a remedy. */
export function assertFound({ all, bad }: Examined, patterns: readonly RegExp[]): void {
  for (const pattern of patterns) {
    assert.ok(bad.some((line) => pattern.test(line)), `${pattern} is not in\n${bad.join("\n")}`);
  }
  for (const { check, severity, text, remedy } of all) {
    const isOurs = patterns.some((pattern) => pattern.test(`${severity} ${check}: ${text}`));
    if (isOurs && check !== "backend") assert.notDeepEqual(remedy, [], text);
  }
}
