/**
 * Writing to stdout.
 *
 * @module
 */
import { fileFault } from "../errors.ts";

/** Writes all of it; a reader that has gone, as head does, is no failure. */
export async function print(text: string): Promise<void> {
  await printBytes(new TextEncoder().encode(text));
}

/** As {@link print}. @throws {Error} If stdout takes no more, as a full disk. */
export async function printBytes(bytes: Uint8Array): Promise<void> {
  try {
    for (let done = 0; done < bytes.length;) done += await Deno.stdout.write(bytes.subarray(done));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return;
    throw new Error(`Cannot write to stdout: ${fileFault(error)}`);
  }
}
