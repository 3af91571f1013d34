/**
 * Whether this is root.
 *
 * @module
 */
import { type Check, ok } from "../types.ts";

/** flanneld changes devices and routes; doctor reads what only root may read. */
export const user: Check<number | null> = {
  name: "user",
  group: "host",
  looksAt: "the user that runs this",
  read: () => Deno.uid(),
  judge(uid) {
    if (uid === 0) return [ok("root")];
    return [{
      severity: "fault",
      text: "not root: flanneld changes devices and routes, and doctor sees less",
      evidence: [`uid ${uid}`],
      remedy: ["sudo flanneld doctor"],
    }];
  },
};
