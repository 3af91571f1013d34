/**
 * The documents name files that exist, and the index of decisions is complete.
 */
import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path";
import { filesBelow, readSource } from "./source_files.ts";

/** A file of the project in code type, like `lib/daemon/run.ts`; below /usr there is a lib/systemd. */
const FILE = /`((?:lib|backends|tests|scripts|packaging|docs)\/(?!systemd\/)[\w./-]+\.\w+)`/g;
const LINK = /\]\(([\w./-]+\.md)(?:#[\w-]+)?\)/g;
/** A link to a heading, of another page or of the same. */
const ANCHOR = /\]\(([\w./-]+\.md)?#([\w-]+)\)/g;

async function pages(): Promise<readonly string[]> {
  return [...await filesBelow(["docs"], ".md"), "README.md", "CONTRIBUTING.md"];
}

Deno.test("docs: every file that is named exists", async () => {
  const there = new Set(await filesBelow(["lib", "backends", "tests", "scripts", "packaging", "docs"], ""));
  const missing: string[] = [];
  for (const page of await pages()) {
    // A decision speaks of its own time.
    if (page.startsWith("docs/adr/0")) continue;
    const text = await readSource(page);
    for (const [, path] of text.matchAll(FILE)) if (!there.has(path!)) missing.push(`${page}: ${path}`);
    for (const [, path] of text.matchAll(LINK)) {
      const target = normalize(join(dirname(page), path!));
      if (target.startsWith("docs/") && !there.has(target)) missing.push(`${page}: ${path}`);
    }
  }
  assert.deepEqual(missing, []);
});

/** What a heading's link is called: lower case, spaces as dashes, no punctuation. */
function anchorsOf(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading!);
  return new Set(
    headings.map((heading) => heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")),
  );
}

Deno.test("docs: every link to a heading has that heading", async () => {
  const missing: string[] = [];
  for (const page of await pages()) {
    const text = await readSource(page);
    for (const [, path, anchor] of text.matchAll(ANCHOR)) {
      const target = path === undefined ? page : normalize(join(dirname(page), path));
      const found = anchorsOf(await readSource(target)).has(anchor!);
      if (!found) missing.push(`${page}: ${path ?? ""}#${anchor}`);
    }
  }
  assert.deepEqual(missing, []);
});

Deno.test("docs: the index names every page", async () => {
  const index = await readSource("docs/README.md");
  const names = (await filesBelow(["docs"], ".md")).map((path) => path.slice("docs/".length));
  const own = names.filter((name) => !name.includes("/") && name !== "README.md");
  assert.deepEqual(own.filter((name) => !index.includes(`(${name})`)), []);
});

Deno.test("docs: architecture names every folder of lib, and the index every decision", async () => {
  const architecture = await readSource("docs/architecture.md");
  const folders = new Set(
    (await filesBelow(["lib"])).map(dirname).filter((path) => path.split("/").length === 2),
  );
  assert.deepEqual([...folders].filter((folder) => !architecture.includes(`\`${folder}\``)), []);
  const index = await readSource("docs/adr/README.md");
  const records = (await filesBelow(["docs/adr"], ".md")).map((path) => path.split("/").at(-1)!);
  assert.deepEqual(records.filter((name) => name !== "README.md" && !index.includes(`(${name})`)), []);
});
