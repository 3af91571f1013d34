/**
 * What the backend sees outside of this host.
 *
 * @module
 */
import type { Check, Finding } from "../types.ts";

/** Has the backend look, where it can: lib knows no cloud. */
export const cloud: Check<readonly Finding[] | undefined> = {
  name: "cloud",
  group: "network",
  looksAt: "the cloud's side: this instance, its permissions, source checks and route tables",
  read: (scene) => scene.backendFindings(),
  judge: (found) => [...found ?? []],
};
