/**
 * Puts the files of an installation in their places, and takes exactly these away again.
 *
 * What was made is written into a manifest, folders included, so that removing needs no guess: a folder goes if the
 * installation made it and nothing else is in it by then.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname, join } from "node:path/posix";
import { gzipSync } from "node:zlib";
import { fillTemplate, type Folders, type InstalledFile } from "./layout.ts";

/** An installation's target. */
export interface Target {
  /** The checkout, where sources are read from. */
  readonly checkout: string;
  /** Put in front of every path; "" is the host itself. */
  readonly destdir: string;
  readonly folders: Folders;
}

/** What an installation made: paths on the host, without DESTDIR. */
interface Manifest {
  readonly folders: readonly string[];
  /** SHA-256 of the content by path. */
  readonly files: Readonly<Record<string, string>>;
  readonly configuration: readonly string[];
}

function manifestPath(target: Target): string {
  return join(target.folders.share, "flanneld", "manifest.json");
}

/** The bytes of a file as it is installed. */
export async function contentOf(file: InstalledFile, target: Target): Promise<Uint8Array<ArrayBuffer>> {
  if ("text" in file.source) return new TextEncoder().encode(file.source.text);
  const { path } = file.source;
  const bytes = await Deno.readFile(path.startsWith("/") ? path : join(target.checkout, path));
  // zlib writes no name and no time: the same file gives the same bytes.
  if (file.isCompressed) return new Uint8Array(gzipSync(bytes, { level: 9 }));
  if (!file.isTemplate) return bytes;
  return new TextEncoder().encode(fillTemplate(new TextDecoder().decode(bytes), target.folders));
}

/** Makes a folder and those above it. @returns Those that weren't there, the uppermost first. */
async function makeFolders(destdir: string, folder: string): Promise<string[]> {
  if (folder === "/" || await exists(destdir + folder)) return [];
  const made = await makeFolders(destdir, dirname(folder));
  await Deno.mkdir(destdir + folder, { mode: 0o755, recursive: true });
  return [...made, folder];
}

async function exists(path: string): Promise<boolean> {
  return await optional(Deno.lstat(path)) !== undefined;
}

/** Undefined in place of NotFound. */
async function optional<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Replaces a file in one step: a program may be running from it. */
async function replaceFile(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const temporary = `${path}.new`;
  await Deno.writeFile(temporary, bytes, { mode });
  await Deno.chmod(temporary, mode);
  await Deno.rename(temporary, path);
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function readManifest(target: Target): Promise<Manifest | undefined> {
  const text = await optional(Deno.readTextFile(target.destdir + manifestPath(target)));
  return text === undefined ? undefined : JSON.parse(text);
}

/**
 * Installs.
 *
 * @returns The paths that were written.
 * @throws {Error} if a source can't be read or a place can't be written
 */
export async function install(target: Target, files: readonly InstalledFile[]): Promise<string[]> {
  const before = await readManifest(target);
  const folders = [...before?.folders ?? []];
  const hashes: Record<string, string> = {};
  const written: string[] = [];
  for (const file of files) {
    const bytes = await contentOf(file, target);
    folders.push(...await makeFolders(target.destdir, dirname(file.to)));
    hashes[file.to] = hash(bytes);
    if (file.isConfiguration && await exists(target.destdir + file.to)) continue;
    await replaceFile(target.destdir + file.to, bytes, file.mode);
    written.push(file.to);
  }
  const path = manifestPath(target);
  folders.push(...await makeFolders(target.destdir, dirname(path)));
  const manifest: Manifest = {
    folders,
    files: hashes,
    configuration: files.filter((file) => file.isConfiguration).map((file) => file.to),
  };
  await replaceFile(
    target.destdir + path,
    new TextEncoder().encode(JSON.stringify(manifest, undefined, 1)),
    0o644,
  );
  return written;
}

/** What {@link uninstall} did. */
export interface Removal {
  readonly removed: readonly string[];
  /** Configuration that somebody changed. */
  readonly kept: readonly string[];
}

/**
 * Takes an installation away: its files, the folders it made, and what the executable unpacked.
 *
 * @throws {Error} if there is none
 */
export async function uninstall(target: Target): Promise<Removal> {
  const manifest = await readManifest(target);
  if (manifest === undefined) {
    throw new Error(`Nothing to uninstall: ${target.destdir}${manifestPath(target)} isn't there`);
  }
  const removed: string[] = [];
  const kept: string[] = [];
  for (const [path, sum] of Object.entries(manifest.files)) {
    const bytes = await optional(Deno.readFile(target.destdir + path));
    if (bytes === undefined) continue;
    if (manifest.configuration.includes(path) && hash(bytes) !== sum) {
      kept.push(path);
      continue;
    }
    await Deno.remove(target.destdir + path);
    removed.push(path);
  }
  await Deno.remove(target.destdir + manifestPath(target));
  await optional(Deno.remove(`${target.destdir}/var/cache/flanneld`, { recursive: true }));
  for (const folder of manifest.folders.toReversed()) await removeIfEmpty(target.destdir + folder);
  return { removed, kept };
}

async function removeIfEmpty(folder: string): Promise<void> {
  try {
    for await (const _ of Deno.readDir(folder)) return;
    await Deno.remove(folder);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
