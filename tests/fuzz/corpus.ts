/**
 * The corpus: for each decoder a folder of inputs, kept in the tree. What the fuzzer finds is added to it.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("corpus", import.meta.url));

/** An input with the file that it comes from. */
export interface CorpusFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A decoder's inputs in the order of their names. @throws {Error} If there are none. */
export async function readCorpus(target: string): Promise<CorpusFile[]> {
  const files: CorpusFile[] = [];
  for await (const { name, isFile } of Deno.readDir(join(FOLDER, target))) {
    if (isFile) files.push({ name, bytes: await Deno.readFile(join(FOLDER, target, name)) });
  }
  if (files.length === 0) throw new Error(`tests/fuzz/corpus/${target} is empty: put inputs there`);
  return files.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** Keeps an input that was found. @returns The file's path, from the checkout. */
export async function keepInput(target: string, bytes: Uint8Array): Promise<string> {
  const name = `found-${createHash("sha256").update(bytes).digest("hex").slice(0, 12)}`;
  await Deno.mkdir(join(FOLDER, target), { recursive: true });
  await Deno.writeFile(join(FOLDER, target, name), bytes);
  return `tests/fuzz/corpus/${target}/${name}`;
}
