/**
 * From desired and actual entries to the operations that make the one the other. Pure.
 *
 * @module
 */
import type { DesiredEntries } from "./desired_entries.ts";
import { type Entry, entryKey, sameEntry } from "./entries.ts";

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

/** An entry of ours that is to go. */
interface Removal {
  readonly verb: "remove";
  readonly key: string;
  readonly actual: ActualEntry;
}

/** One thing to do. */
export type Operation = { readonly verb: "set"; readonly key: string; readonly entry: Entry } | Removal;

/**
 * What a full pass has to do: set what is missing or different, remove what is ours and not desired. Empty when
 * all is right.
 *
 * @param actual Read once, from front to back: nothing of what is right is kept, however much it is.
 */
export function planPass(desired: DesiredEntries, actual: Iterable<ActualEntry>): Operation[] {
  const stale: Removal[] = [];
  const others: Removal[] = [];
  desired.startRound();
  for (const found of actual) {
    if (!found.ours) continue;
    const key = entryKey(found.entry);
    const entry = desired.get(key);
    if (!entry) stale.push({ verb: "remove", key, actual: found });
    else if (!sameEntry(found.entry, entry) || !desired.markSeen(key)) {
      others.push({ verb: "remove", key, actual: found });
    }
  }
  const missing = Array.from(desired.unseen(), ([key, entry]): Operation => ({ verb: "set", key, entry }));
  // A set replaces one wrong entry; whatever else stands beside it has to go by itself.
  const replaced = new Set<string>();
  const beside = others.filter(({ key, actual }) => {
    if (desired.wasSeen(key) || replaced.has(key) || !isReplaced(actual)) return true;
    replaced.add(key);
    return false;
  });
  return inOrder([...stale, ...beside, ...missing]);
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
