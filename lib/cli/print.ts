/**
 * Writing much text to stdout.
 *
 * @module
 */
import { messageOf } from "../errors.ts";

/** Writes all of it; a reader that has gone, as head does, is no failure. */
export async function print(text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let done = 0; done < bytes.length;) done += await Deno.stdout.write(bytes.subarray(done));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return;
    throw new Error(`Cannot write to stdout: ${messageOf(error)}`, { cause: error });
  }
}
