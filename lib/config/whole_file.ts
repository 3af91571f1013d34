/**
 * Files that other programs read while they are written.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";

/** Files left behind by a write that was killed are taken away after this time, in milliseconds. */
const STALE_AFTER = 60_000;

/**
 * Writes a file so that readers see the whole old one or the whole new one, also after a power cut: a temporary
 * file in the same folder, synced, renamed over it, folder synced. Makes the folder. Everybody may read it.
 *
 * @throws {Error} If that can't be done; an older file is then still as it was.
 */
export async function writeWholeFile(path: string, text: string): Promise<void> {
  const folder = dirname(path);
  const prefix = `.${basename(path)}.`;
  await Deno.mkdir(folder, { recursive: true, mode: 0o755 });
  const temporary = await Deno.makeTempFile({ dir: folder, prefix, suffix: ".tmp" });
  try {
    await writeSynced(temporary, text);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  using opened = await Deno.open(folder);
  await opened.sync();
  await removeStale(folder, prefix);
}

async function writeSynced(path: string, text: string): Promise<void> {
  using opened = await Deno.open(path, { write: true, truncate: true });
  let rest = new TextEncoder().encode(text);
  while (rest.length > 0) rest = rest.subarray(await opened.write(rest));
  // Whatever the umask: other programs read it.
  await Deno.chmod(path, 0o644);
  await opened.sync();
}

/** Takes away what killed writes left. A young file may be another process's write in progress. */
async function removeStale(folder: string, prefix: string): Promise<void> {
  for await (const entry of Deno.readDir(folder)) {
    if (!entry.isFile || !entry.name.startsWith(prefix) || !entry.name.endsWith(".tmp")) continue;
    const path = join(folder, entry.name);
    const changed = (await Deno.stat(path).catch(() => undefined))?.mtime?.getTime();
    if (changed !== undefined && Date.now() - changed > STALE_AFTER) await Deno.remove(path).catch(() => {});
  }
}
