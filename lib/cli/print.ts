/**
 * Writing to stdout.
 *
 * @module
 */
import { fileFault } from "../errors.ts";

/** Writes all of it. @returns False if the reader has gone, as head does: that is no failure, but nobody reads more. */
export async function print(text: string): Promise<boolean> {
  return await printBytes(new TextEncoder().encode(text));
}

/** As {@link print}. @throws {Error} If stdout takes no more, as a full disk. */
export async function printBytes(bytes: Uint8Array): Promise<boolean> {
  try {
    for (let done = 0; done < bytes.length;) done += await Deno.stdout.write(bytes.subarray(done));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
    throw new Error(`Cannot write to stdout: ${fileFault(error)}`);
  }
}
