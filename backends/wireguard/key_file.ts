/**
 * The host's private key, in a file that only root reads.
 *
 * It lies where flannel's hosts have it, in /run/flannel/wgkey, and that is a file system in memory: a copy in
 * /var/lib/flannel lets a host have its key also after it was booted again.
 *
 * @module
 */
import { dirname } from "node:path";
import { messageOf } from "../../lib/errors.ts";
import type { Log } from "../../lib/observe/types.ts";
import { generatePrivateKey, isKey } from "../../lib/wireguard/keys.ts";

/** The variable that names another file, as in the original. */
const KEY_FILE_VARIABLE = "WIREGUARD_KEY_FILE";

const DEFAULT_FILE = "/run/flannel/wgkey";
const LASTING_COPY = "/var/lib/flannel/wgkey";

/** The key file can't be used. The message never holds the key. */
export class KeyFileError extends Error {
  override readonly name = "KeyFileError";
}

/** Where the key is, and where a copy of it is kept. */
export interface KeyPlace {
  readonly file: string;
  readonly copy?: string;
}

/** The place that the environment names, or the usual one. */
export function keyPlace(env: (name: string) => string | undefined): KeyPlace {
  return placeOf(env(KEY_FILE_VARIABLE) || DEFAULT_FILE);
}

/** The place whose file is this one. */
export function placeOf(file: string): KeyPlace {
  return file === DEFAULT_FILE ? { file, copy: LASTING_COPY } : { file };
}

/** The files that the daemon made by itself; one that the environment names is an administrator's. */
export function ownKeyFiles(env: (name: string) => string | undefined): readonly string[] {
  return env(KEY_FILE_VARIABLE) ? [] : [DEFAULT_FILE, LASTING_COPY];
}

/** The host's key, or a new one that is nowhere yet. @throws {KeyFileError} If a file is there and can't be used. */
export async function findKey({ file, copy }: KeyPlace): Promise<string> {
  return await readKey(file) ?? (copy === undefined ? undefined : await readKey(copy)) ??
    generatePrivateKey();
}

/** Writes the key where it isn't yet. @throws {KeyFileError} */
export async function keepKey({ file, copy }: KeyPlace, key: string, log: Log): Promise<void> {
  if (await readKey(file) !== key) await writeKey(file, key);
  if (copy !== undefined) await keepCopy(copy, key, log);
}

/** Without the copy all works until the next boot, after which the host has another key. */
async function keepCopy(copy: string, key: string, log: Log): Promise<void> {
  try {
    if (await readKey(copy) !== key) await writeKey(copy, key);
  } catch (error) {
    log.warn(`Cannot keep a copy of the key, a reboot makes a new one: ${messageOf(error)}`);
  }
}

/** Puts a new key in the place of the old one. @throws {KeyFileError} */
export async function replaceKey({ file, copy }: KeyPlace, log: Log): Promise<string> {
  const key = generatePrivateKey();
  await writeKey(file, key);
  if (copy !== undefined) await keepCopy(copy, key, log);
  return key;
}

/** Reads a key file; undefined if there is none. @throws {KeyFileError} If it holds no key, or others may read it. */
export async function readKey(path: string): Promise<string | undefined> {
  const remedy = `make it root's alone (chmod 600 ${path}), or remove it: a new key is made then`;
  try {
    const { mode } = await Deno.stat(path);
    if (((mode ?? 0) & 0o077) !== 0) {
      const text = ((mode ?? 0) & 0o777).toString(8).padStart(4, "0");
      throw new KeyFileError(`The key file ${path} has mode ${text}, which lets others read it: ${remedy}`);
    }
    const key = (await Deno.readTextFile(path)).trim();
    if (isKey(key)) return key;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof KeyFileError) throw error;
    throw new KeyFileError(`Cannot read the key file ${path}: ${messageOf(error)}`, { cause: error });
  }
  throw new KeyFileError(
    `The key file ${path} holds no WireGuard key (32 bytes in base64): restore it, or remove it: a new key is made then`,
  );
}

/** Writes a key so that readers see the old file or the new one, and others nothing. */
async function writeKey(path: string, key: string): Promise<void> {
  const temporary = `${path}.new-${crypto.randomUUID().slice(0, 8)}`;
  try {
    await Deno.mkdir(dirname(path), { recursive: true, mode: 0o755 });
    const file = await Deno.open(temporary, { write: true, createNew: true, mode: 0o600 });
    try {
      await file.write(new TextEncoder().encode(key));
      await file.sync();
    } finally {
      file.close();
    }
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw new KeyFileError(`Cannot write the key file ${path}: ${messageOf(error)}`, { cause: error });
  }
}
