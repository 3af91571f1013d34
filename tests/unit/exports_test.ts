/**
 * What is exported is used: code that only tests use is dead, and a name that nobody imports is private.
 */
import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path";
import { filesBelow, readSource } from "./source_files.ts";

const EXPORT =
  /^export (?:async )?(?:abstract )?(?<kind>function\*?|class|const|let|interface|type|enum) (?<name>\w+)/gm;
/** A table of the kernel's numbers, several in one declaration: tests may need one that the program doesn't. */
const NUMBERS = /^export const \w+ = \w+(?:, \w+ = \w+)+;/gm;
const STATIC_IMPORT =
  /(?:import|export)\s+(?:type\s+)?\{(?<names>[^}]*)\}\s+from\s+["'](?<from>\.[^"']+)["']/g;
const NAMESPACE_IMPORT = /import\s+\*\s+as\s+(?<alias>\w+)\s+from\s+["'](?<from>\.[^"']+)["']/g;
const DYNAMIC_IMPORT = /import\(\s*["'](?<from>\.[^"']+)["']\s*\)/g;

/** The files that import each export, by `path#name`. */
class Users {
  readonly #byExport = new Map<string, Set<string>>();

  constructor(texts: ReadonlyMap<string, string>) {
    for (const [file, text] of texts) {
      const resolve = (from: string) => normalize(join(dirname(file), from));
      for (const { groups } of text.matchAll(STATIC_IMPORT)) {
        for (const part of groups!.names!.split(",")) {
          const name = part.trim().replace(/^type /, "").split(/\s+as\s+/)[0]!;
          this.#add(resolve(groups!.from!), name, file);
        }
      }
      for (const { groups } of text.matchAll(NAMESPACE_IMPORT)) {
        const uses = text.matchAll(new RegExp(`\\b${groups!.alias}\\.(\\w+)`, "g"));
        for (const [, name] of uses) this.#add(resolve(groups!.from!), name!, file);
      }
      for (const { groups } of text.matchAll(DYNAMIC_IMPORT)) {
        const target = resolve(groups!.from!);
        for (const { name } of exportsOf(texts.get(target) ?? "")) {
          if (mentions(text, name) > 0) this.#add(target, name, file);
        }
      }
    }
  }

  of(file: string, name: string): readonly string[] {
    return [...this.#byExport.get(`${file}#${name}`) ?? []];
  }

  #add(file: string, name: string, user: string): void {
    const key = `${file}#${name}`;
    this.#byExport.set(key, (this.#byExport.get(key) ?? new Set()).add(user));
  }
}

type Kind = "value" | "type" | "number";

function exportsOf(text: string): { name: string; kind: Kind }[] {
  const tables = [...text.matchAll(NUMBERS)].flatMap(([line]) => [...line.matchAll(/(\w+) =/g)]);
  const numbers = new Set(tables.map(([, name]) => name!));
  const others = [...text.matchAll(EXPORT)].flatMap(({ groups }): { name: string; kind: Kind }[] => {
    const { name, kind } = groups as { name: string; kind: string };
    if (numbers.has(name)) return [];
    return [{ name, kind: kind === "interface" || kind === "type" ? "type" : "value" }];
  });
  return [...others, ...Array.from(numbers, (name) => ({ name, kind: "number" as const }))];
}

function mentions(text: string, name: string): number {
  return text.match(new RegExp(`\\b${name}\\b`, "g"))?.length ?? 0;
}

Deno.test("exports: each one is used by the program, and private where nobody imports it", async () => {
  const files = await filesBelow(["lib", "backends", "scripts", "tests"]);
  const texts = new Map(
    await Promise.all([...files, "main.ts"].map(async (file) => [file, await readSource(file)] as const)),
  );
  const users = new Users(texts);
  const wrong: string[] = [];
  for (const [file, text] of texts) {
    if (!/^(lib|backends)\//.test(file)) continue;
    for (const { name, kind } of exportsOf(text)) {
      const importers = users.of(file, name);
      if (importers.some((user) => !user.startsWith("tests/"))) continue;
      const isUsedHere = mentions(text, name) > 1;
      if (kind === "number" ? importers.length === 0 && !isUsedHere : !isUsedHere) {
        wrong.push(`${file}: only tests use ${name}: delete it`);
      } else if (importers.length === 0 && kind === "value") {
        wrong.push(`${file}: no file imports ${name}: make it private`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});
