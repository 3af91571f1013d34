/**
 * Decoders with a known fault each, to test the fuzzer itself.
 *
 * @module
 */
import { type FuzzTarget, property, textOf } from "../target.ts";

/** Each finds its fault in its corpus file. */
export const SELF_TEST_TARGETS: readonly FuzzTarget[] = [
  selfTest("self-test-hang", (text) => {
    while (text.startsWith("hang"));
  }),
  selfTest("self-test-throw", (text) => {
    // A mistake of ours, whatever the target declares.
    if (text.includes("\n\n")) (undefined as unknown as { x: string }).x;
  }),
  selfTest("self-test-property", (text) => property(!text.includes("5"), "a 5 in it")),
];

function selfTest(name: string, one: (text: string) => void): FuzzTarget {
  return {
    name,
    what: "a fault of its own",
    errors: [TypeError],
    dictionary: ["\n\n", "x"],
    open: () => (input) => one(textOf(input)),
  };
}
