/**
 * Files that other checks needed and couldn't read.
 *
 * @module
 */
import { type Check, count, type Finding } from "../types.ts";

/** What can't be read, and for whom. */
interface UnreadableFiles {
  /** Why, by path. */
  readonly reasons: ReadonlyMap<string, string>;
  readonly isRoot: boolean;
}

/** Takes what the other checks, which come before it, met with. */
export const files: Check<UnreadableFiles> = {
  name: "files",
  group: "host",
  comesLast: true,
  looksAt: "files that other checks need, are there and can't be read",
  read: ({ files: { unreadable } }) => ({ reasons: unreadable, isRoot: Deno.uid() === 0 }),
  judge({ reasons, isRoot }): Finding[] {
    if (reasons.size === 0) return [];
    return [{
      // Much is root's alone; the check of the user says what that means for others.
      severity: isRoot ? "warning" : "note",
      text: `${count(reasons.size, "file")} can't be read: what is in there is taken for absent`,
      evidence: [...reasons].sort().map(([path, reason]) => `${path}: ${reason}`),
      ...isRoot ? {} : { remedy: ["sudo flanneld doctor"] },
    }];
  },
};
