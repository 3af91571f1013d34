/**
 * The frame of a script: what goes wrong is one line, and status 1.
 *
 * @module
 */
import { messageOf } from "../lib/errors.ts";

/** Does a script's work. @param name What the line begins with. */
export async function runScript(name: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    console.error(`${name}: ${messageOf(error)}`);
    Deno.exit(1);
  }
}
