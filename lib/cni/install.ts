/**
 * `flanneld cni install`: puts the plugin and its network configuration where container runtimes look for them.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { messageOf } from "../errors.ts";

/** The configuration list that is installed where none is given: flannel's usual one. */
const CONFLIST = {
  name: "cbr0",
  cniVersion: "0.3.1",
  plugins: [
    { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
};

/** What to install, and where to. */
export interface InstallOptions {
  /** Our own executable. */
  readonly executable: string;
  /** Folder of plugins; empty: the plugin isn't installed. */
  readonly binFolder: string;
  /** The configuration list's place; empty: none is installed. */
  readonly conflist: string;
  /** A configuration list to install in place of the built-in one; empty: the built-in one. */
  readonly from: string;
}

/** Installs, each file whole or not at all. @returns What was written; a file that is right already isn't. */
export async function installCni(
  { executable, binFolder, conflist, from }: InstallOptions,
): Promise<string[]> {
  const written: string[] = [];
  if (binFolder !== "") {
    const path = join(binFolder, "flannel");
    if (await replaceFile(path, await Deno.readFile(executable), 0o755)) written.push(path);
  }
  if (conflist !== "") {
    const text = from === "" ? `${JSON.stringify(CONFLIST, null, 2)}\n` : await readConflist(from);
    if (await replaceFile(conflist, new TextEncoder().encode(text), 0o644)) written.push(conflist);
  }
  return written;
}

async function readConflist(path: string): Promise<string> {
  const text = await Deno.readTextFile(path).catch((error) => {
    throw new Error(`Cannot read the network configuration ${path}: ${messageOf(error)}`);
  });
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Error(`The network configuration ${path} isn't JSON: ${messageOf(error)}`);
  }
  return text;
}

async function replaceFile(path: string, bytes: Uint8Array, mode: number): Promise<boolean> {
  if (await hashOf(path) === digest(bytes)) return false;
  const folder = dirname(path), temporary = join(folder, `.${basename(path)}.new-${Deno.pid}`);
  try {
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeFile(temporary, bytes, { mode });
    await Deno.chmod(temporary, mode);
    await Deno.rename(temporary, path);
    return true;
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw new Error(`Cannot write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

async function hashOf(path: string): Promise<string | undefined> {
  return await Deno.readFile(path).then(digest, () => undefined);
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
