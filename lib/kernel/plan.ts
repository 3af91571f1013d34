/**
 * From desired and actual entries to the operations that make the one the other. Pure.
 *
 * @module
 */
import type { DesiredEntries } from "./desired_entries.ts";
import { type Entry, sameEntry } from "./entries.ts";

/** An entry as the kernel has it. */
export interface ActualEntry {
  readonly entry: Entry;
  /** Ours to change and remove: it carries our mark, or stands on a device of ours. */
  readonly ours: boolean;
  /** What a removal must name to hit exactly this one. */
  readonly protocol?: number;
  readonly metric?: number;
  readonly nexthopId?: number;
}

/** What the kernel has, by key; more than one where it allows several (routes of different metric). */
export type ActualEntries = ReadonlyMap<string, readonly ActualEntry[]>;

/** One thing to do. */
export type Operation =
  | { readonly verb: "set"; readonly key: string; readonly entry: Entry }
  | { readonly verb: "remove"; readonly key: string; readonly actual: ActualEntry };

/**
 * What a full pass has to do: set what is missing or different, remove what is ours and not desired.
 * Empty when all is right.
 */
export function planPass(desired: DesiredEntries, actual: ActualEntries): Operation[] {
  const operations: Operation[] = [];
  for (const [key, entry] of desired.entries()) {
    const found = actual.get(key) ?? [];
    const right = found.find((candidate) => sameEntry(candidate.entry, entry) && candidate.ours);
    if (!right) operations.push({ verb: "set", key, entry });
    const stays = right ?? found.find(isReplaced);
    for (const other of found) {
      if (other !== stays && other.ours) operations.push({ verb: "remove", key, actual: other });
    }
  }
  for (const [key, found] of actual) {
    if (desired.get(key)) continue;
    for (const stale of found) if (stale.ours) operations.push({ verb: "remove", key, actual: stale });
  }
  return inOrder(operations);
}

/**
 * Whether a set puts the desired entry in this one's place: the kernel replaces the first destination of a MAC,
 * and the first route of the same metric.
 */
function isReplaced({ entry }: ActualEntry): boolean {
  return entry.kind !== "route" || entry.metric === undefined;
}

/**
 * The order in which no packet meets half a path: routes that go, then neighbours and fdb entries that come,
 * then routes that come, then neighbours and fdb entries that go.
 */
export function inOrder(operations: readonly Operation[]): Operation[] {
  const stages: Operation[][] = [[], [], [], []];
  for (const operation of operations) stages[stageOf(operation)]!.push(operation);
  return stages.flat();
}

function stageOf(operation: Operation): number {
  const entry = operation.verb === "set" ? operation.entry : operation.actual.entry;
  const isRoute = entry.kind === "route" || entry.kind === "blackhole";
  if (operation.verb === "remove") return isRoute ? 0 : 3;
  return isRoute ? 2 : 1;
}
