/**
 * How a failure reaches the user: one line for what a user can cause, a stack trace only for our own mistakes.
 *
 * @module
 */
import { ConfigError } from "../config/types.ts";
import { describeFailure } from "../errors.ts";
import { printable, printableLines } from "../observe/printable.ts";
import { UsageError } from "../options/usage_error.ts";

/** Exit status of a wrong command line, as Go's flag package has it. */
const USAGE = 2;

/** Exit status of everything else. */
const FAILURE = 1;

/** Prints the failure to stderr. @param called The command, where the words named one. @returns The exit status. */
export function reportFailure(error: unknown, called?: string): number {
  if (error instanceof UsageError) {
    console.error(`flanneld: ${printable(error.message)}`);
    const command = error.command ?? (called === "daemon" ? undefined : called);
    const help = command === undefined ? "flanneld -help" : `flanneld help ${command}`;
    if (!/; flanneld .*lists all$/.test(error.message)) console.error(`flanneld: see ${help}`);
    return USAGE;
  }
  if (error instanceof ConfigError) {
    for (const fault of error.faults) console.error(printable(fault.message));
    return FAILURE;
  }
  console.error(`flanneld: ${printableLines(describeFailure(error))}`);
  return FAILURE;
}
