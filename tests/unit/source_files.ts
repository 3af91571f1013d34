/**
 * The project's own files, for tests that read them as text.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The files below folders of the checkout whose names end so, as paths from {@link ROOT}. */
export async function filesBelow(folders: readonly string[], ending = ".ts"): Promise<string[]> {
  const found: string[] = [];
  for (const folder of folders) {
    for await (const { name, isDirectory } of Deno.readDir(join(ROOT, folder))) {
      const path = join(folder, name);
      if (isDirectory) found.push(...await filesBelow([path], ending));
      else if (name.endsWith(ending)) found.push(path);
    }
  }
  return found.sort();
}

/** The text of a file of the checkout. */
export async function readSource(path: string): Promise<string> {
  return await Deno.readTextFile(join(ROOT, path));
}
