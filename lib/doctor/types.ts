/**
 * What `doctor` is made of: checks, and what they find.
 *
 * @module
 */
import type { Finding, Severity } from "../backend/finding.ts";
import type { Scene } from "./scene.ts";

export type { Finding, Severity };

/** All severities, the worst last. */
export const SEVERITIES: readonly Severity[] = ["ok", "note", "warning", "fault"];

/** The subjects that checks are grouped by, in the order in which they are shown. */
export type Group = "store" | "kernel" | "underlay" | "network" | "firewall" | "host";

/**
 * One check. What is read of the host is separate from what is made of it: `judge` is pure.
 *
 * Neither changes anything on the host.
 */
export interface Check<Facts = unknown> {
  /** A word or two; unique. */
  readonly name: string;
  readonly group: Group;
  /** What it shows is what other checks met with: it is carried out when they are done. */
  readonly comesLast?: true;
  /** Its evidence is worth reading also where all is well. */
  readonly explains?: true;
  /** What it looks at, in words: what documents and `-json` say. */
  readonly looksAt: string;
  /**
   * Reads the host.
   *
   * @throws {NotKnown} Where something that it depends on can't be known: the check is left out, with that reason.
   */
  read(scene: Scene): Promise<Facts> | Facts;
  /** What the facts mean; empty where the check has no subject on this host. */
  judge(facts: Facts): Finding[];
}

/** What became of a check. */
export interface CheckResult {
  readonly check: Check;
  readonly findings: readonly Finding[];
  /** Why it was left out; absent when it was carried out. */
  readonly leftOut?: string;
  /** How long it took, in milliseconds. */
  readonly elapsedMs: number;
}

/** A finding that all is well. */
export function ok(text: string, ...evidence: string[]): Finding {
  return { severity: "ok", text, ...(evidence.length > 0 ? { evidence } : {}) };
}

/** `1 peer`, `2 peers`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
