/**
 * What somebody who looks at a host finds: the words of `doctor`, also for what only a backend can see.
 *
 * @module
 */

/**
 * How bad a finding is. A fault keeps flanneld or the network from working; a warning does so in some cases, or
 * soon; a note is worth knowing.
 */
export type Severity = "ok" | "note" | "warning" | "fault";

/** One thing that a check found. */
export interface Finding {
  readonly severity: Severity;
  /** What is so, in a sentence. */
  readonly text: string;
  /** The values that it follows from, and where they were read. */
  readonly evidence?: readonly string[];
  /** What corrects it: commands for a root shell, in their order. */
  readonly remedy?: readonly string[];
}
