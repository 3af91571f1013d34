/**
 * Asking before something is changed.
 *
 * @module
 */
import { printable } from "../observe/printable.ts";
import { UsageError } from "../options/usage_error.ts";

/**
 * Says what will happen, and asks whether to go on.
 *
 * @param yes Whether -yes was given: nobody is asked.
 * @throws {UsageError} If nobody can be asked.
 */
export function confirmed(command: string, says: readonly string[], yes: boolean): boolean {
  for (const sentence of says) console.log(printable(sentence));
  if (yes) return true;
  if (!Deno.stdin.isTerminal() || !Deno.stdout.isTerminal()) {
    throw new UsageError(
      `${command}: nothing done: there is no terminal to ask on; -yes does it without asking`,
      command,
    );
  }
  if (confirm("Go on?")) return true;
  console.log("Nothing done.");
  return false;
}
