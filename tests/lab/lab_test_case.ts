/**
 * Tests that need a lab.
 *
 * @module
 */
import assert from "node:assert/strict";
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

/** One case of {@link labsAtOnce}. */
export interface LabCase {
  readonly name: string;
  readonly options: LabOptions;
  readonly body: (lab: Lab) => Promise<void>;
}

/** Cases of {@link labsAtOnce} that run at a time: starting is work for the processor, and tests run beside. */
const AT_ONCE = 2;

/** Registers a test of cases that mostly wait: each is a step with a lab of its own, and two run at a time. */
export function labsAtOnce(name: string, cases: readonly LabCase[]): void {
  Deno.test({
    name: `${name} (needs root)`,
    ignore: !IS_ROOT,
    fn: async (t) => {
      const waiting = [...cases];
      const failed: string[] = [];
      const worker = async () => {
        for (let each = waiting.shift(); each !== undefined; each = waiting.shift()) {
          const { name, options, body } = each;
          const fn = () => withLab(options, body);
          // What another step opens at the same time isn't this one's leak.
          const sanitize = { sanitizeOps: false, sanitizeResources: false, sanitizeExit: false };
          if (!await t.step({ name, fn, ...sanitize })) failed.push(name);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
      assert.deepEqual(failed, []);
    },
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
