/**
 * Everything that a person reads is plain English: docs/messages.md has the style. This keeps out the words that
 * crept in once.
 */
import assert from "node:assert/strict";
import { filesBelow, readSource } from "./source_files.ts";

/** A word that isn't the field's, and what says the same. Names in code (#tell, tell()) aren't prose. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [/(?<!#)\b(?:told|tells?|telling)\b(?!\()/gi, "report, log, publish, pass on; distinguish"],
  [/\bmend(?:s|ed|ing)?\b/gi, "fix, correct; pass by waiting"],
  [/\bkin\b/gi, "counterpart"],
  [/\bfor ever\b/gi, "without limit, until …"],
  [/\bas it should be\b/gi, "correct, complete"],
  [/\bis of no type\b/gi, "has no type"],
  [/\b(?:put|puts|set|made) right\b/gi, "corrected"],
  [/\bthe way of a start\b/gi, "how the daemon starts"],
  [/\b(?:hears?|heard) (?:of|yet of)\b/gi, "learn of, get"],
  [/\bin vain\b/gi, "without use"],
  [/\btrying again\b/gi, "retrying"],
  [/\b(?:goes|going) on without\b/gi, "continues without"],
  [/\bmade anew\b/gi, "recreated"],
];

/** Texts that name the words. */
const EXEMPT = new Set(["docs/messages.md", "tests/unit/plain_english_test.ts"]);

function faultsOf(text: string): string[] {
  // A sentence may go on in the next line of a comment.
  const flat = text.replaceAll(/\s*\n\s*(?:\*|\/\/)?\s*/g, " ");
  return WORDS.flatMap(([word, better]) =>
    [...flat.matchAll(word)].map(({ index, 0: found }) =>
      `"${found}" (better: ${better}) in: ${flat.slice(Math.max(0, index - 40), index + 40)}`
    )
  );
}

Deno.test("plain English: code, docs and tests use the field's words", async () => {
  const sources = await filesBelow(["lib", "backends", "tests", "scripts"]);
  const pages = await filesBelow(["docs"], ".md");
  const faults: string[] = [];
  for (const path of [...sources, ...pages, "main.ts", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]) {
    if (EXEMPT.has(path)) continue;
    for (const fault of faultsOf(await readSource(path))) faults.push(`${path}: ${fault}`);
  }
  assert.deepEqual(faults, []);
});

Deno.test("plain English: such words are found, also across lines, and names in code aren't", () => {
  assert.equal(faultsOf("/**\n * waits for\n * ever\n */").length, 1);
  assert.equal(faultsOf("// Each watcher is told.").length, 1);
  assert.equal(faultsOf("this.#tell(problem); tell(event);").length, 0);
});
