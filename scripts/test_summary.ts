/**
 * Reads what `deno test` prints (pretty reporter, no colours): counts and single results.
 *
 * @module
 */

/** How many tests ended how. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** One test's result line. */
export interface TestLine {
  readonly name: string;
  readonly result: "ok" | "FAILED" | "ignored";
  /** As deno prints it, like `3s` or `120ms`. */
  readonly time: string;
}

export const NONE: Counts = { passed: 0, failed: 0, skipped: 0 };

export function addCounts(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/** `ok | 12 passed (3 steps) | 0 failed | 1 ignored (3s)`: parts that are 0 are left out, but passed and failed. */
const SUMMARY = /^(?:ok|FAILED) \| \d+ passed.*\| \d+ failed.*$/;
const RESULT = /^(\S.*?) \.\.\. (ok|FAILED|ignored)(?: \((.*)\))?$/;

/**
 * The counts of one run of `deno test`.
 *
 * A run that failed without a failed test (an uncaught error, a crash, a module that doesn't load, no
 * summary at all) counts as one failed test: nothing that went wrong is lost.
 *
 * @param output All that it wrote, without colours.
 * @param success Whether its exit status was 0.
 */
export function countsOf(output: string, success: boolean): Counts {
  const summary = output.split("\n").filter((line) => SUMMARY.test(line)).at(-1);
  if (summary === undefined) return { ...NONE, failed: 1 };
  const count = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(summary)?.[1] ?? 0);
  const failed = count("failed");
  return {
    passed: count("passed"),
    failed: success ? failed : Math.max(failed, 1),
    skipped: count("ignored"),
  };
}

/** Reads a line as the result of a top-level test; undefined for any other line. */
export function parseTestLine(line: string): TestLine | undefined {
  const match = RESULT.exec(line);
  if (match === null) return undefined;
  return { name: match[1]!, result: match[2] as TestLine["result"], time: match[3] ?? "" };
}

/** The last line of a test run, for people and for programs. */
export function formatCounts(counts: Counts): string {
  return `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
}
