/**
 * Words about a benchmark's machine and numbers, for tables.
 *
 * @module
 */

/** One line: date, CPU, cores and kernel. */
export function describeMachine(date: Date): string {
  const model = /^model name\s*:\s*(.+)$/m.exec(Deno.readTextFileSync("/proc/cpuinfo"))?.[1] ?? "unknown CPU";
  const day = date.toISOString().slice(0, 10);
  return `${day}, ${model}, ${navigator.hardwareConcurrency} cores, Linux ${Deno.osRelease()}`;
}

/** The median. @throws {RangeError} Of nothing. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("Cannot take the median of no values");
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
