/**
 * From desired and actual entries to the operations that make the one the other. Pure.
 *
 * @module
 */
import type { DesiredEntries } from "./desired_entries.ts";
import { type Entry, sameEntry } from "./entries.ts";
import { EntryTable } from "./entry_table.ts";

/** An entry of ours as the kernel has it: it carries our mark, or stands on a device of ours. */
export interface ActualEntry {
  readonly entry: Entry;
  /** What a removal must name to hit exactly this one. */
  readonly protocol?: number;
  readonly metric?: number;
  readonly nexthopId?: number;
}

/** A desired entry that is missing or different. */
export interface SetOperation {
  readonly verb: "set";
  readonly entry: Entry;
  /** The kernel has another one of ours in its place, which is to be replaced. */
  readonly replaces: boolean;
}

/** An entry of ours that isn't desired. */
export interface RemoveOperation {
  readonly verb: "remove";
  readonly actual: ActualEntry;
}

/** One thing to do. */
export type Operation = SetOperation | RemoveOperation;

/** Operations in the order in which they are carried out, made as they are read: 60,000 of them would take 8 MB. */
export interface Operations extends Iterable<Operation> {
  readonly length: number;
}

/** The entry that an operation is about. */
export function entryOf(operation: Operation): Entry {
  return operation.verb === "set" ? operation.entry : operation.actual.entry;
}

/**
 * What a full pass has to do: set what is missing or different, remove what is ours and not desired. Empty when
 * the kernel has exactly what is desired.
 *
 * @param actual Read once, from front to back: nothing of what is right is kept, however much it is.
 * @param accept Asked of an entry that says what is desired; false: it is written again.
 */
export function diffEntries(
  desired: DesiredEntries,
  actual: Iterable<ActualEntry>,
  accept: (found: ActualEntry) => boolean = () => true,
): Operations {
  const stale: RemoveOperation[] = [];
  const others: RemoveOperation[] = [];
  /** Desired entries that the kernel has. */
  const seen = new Set<Entry>();
  for (const found of actual) {
    const entry = desired.get(found.entry);
    if (!entry) stale.push({ verb: "remove", actual: found });
    else if (sameEntry(found.entry, entry) && !seen.has(entry) && accept(found)) seen.add(entry);
    else others.push({ verb: "remove", actual: found });
  }
  // A set replaces one wrong entry; whatever else stands beside it has to go by itself.
  const replaced = new EntryTable<true>();
  const beside = others.filter(({ actual }) => {
    const { entry } = actual;
    if (seen.has(desired.get(entry)!) || replaced.has(entry) || !isReplaced(actual)) return true;
    replaced.set(entry, true);
    return false;
  });
  const missing: Entry[] = [];
  for (const entry of desired.values()) if (!seen.has(entry)) missing.push(entry);
  return sets([...stale, ...beside], missing, replaced);
}

/** Removals, and sets of `missing`, in the order of {@link inOrder}. */
function sets(
  removals: readonly RemoveOperation[],
  missing: readonly Entry[],
  replaced: EntryTable<true>,
): Operations {
  return {
    length: removals.length + missing.length,
    *[Symbol.iterator]() {
      for (const removal of removals) if (isRoute(entryOf(removal))) yield removal;
      for (const routes of [false, true]) {
        for (const entry of missing) {
          if (isRoute(entry) === routes) yield { verb: "set", entry, replaces: replaced.has(entry) };
        }
      }
      for (const removal of removals) if (!isRoute(entryOf(removal))) yield removal;
    },
  };
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
  const ofRoute = isRoute(entryOf(operation));
  if (operation.verb === "remove") return ofRoute ? 0 : 3;
  return ofRoute ? 2 : 1;
}

function isRoute({ kind }: Entry): boolean {
  return kind === "route" || kind === "blackhole";
}
