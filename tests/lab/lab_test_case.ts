/**
 * Tests that need a lab.
 *
 * @module
 */
import { Lab, type LabOptions } from "../../scripts/lab/lab.ts";

/** Whether labs can be made here: namespaces need root. */
export const IS_ROOT = Deno.uid() === 0;

/**
 * Registers a test that gets a lab of its own. Without root it is skipped, and its name says why. When it
 * fails, the daemons' logs go before the error.
 */
export function labTest(name: string, options: LabOptions, body: (lab: Lab) => Promise<void>): void {
  Deno.test({
    name: `${name} (needs root)`,
    ignore: !IS_ROOT,
    fn: () => withLab(options, body),
  });
}

/** Runs `body` with a lab that is gone afterwards. */
export async function withLab<T>(options: LabOptions, body: (lab: Lab) => Promise<T>): Promise<T> {
  await using lab = await Lab.create(options);
  try {
    return await body(lab);
  } catch (error) {
    console.error(lab.logs());
    throw error;
  }
}
