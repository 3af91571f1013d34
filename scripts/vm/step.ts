/**
 * A step of the check in the virtual machine.
 *
 * @module
 */

/** Deadlines are longer than elsewhere: the machine is ten times as slow, and more where others work beside it. */
export const PATIENCE_MS = 120_000;

/** See the module's text. */
export interface Step {
  readonly name: string;
  /** It takes minutes: it is run only where a word of the command line names it. */
  readonly isAskedFor?: boolean;
  /** @returns What was measured, if anything. @throws {Error} If something isn't as it is to be. */
  run(): Promise<string | void>;
}

/** Options of every daemon here: loading the firewall's modules takes half a minute, and it isn't what is looked at. */
export const DAEMON_ARGS: readonly string[] = ["-iptables-forward-rules=false"];
