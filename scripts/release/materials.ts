/**
 * Reads what a release is made of: packages from deno.lock, their licences from Deno's cache, the runtimes' hashes.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "../build/paths.ts";
import { run } from "../build/run.ts";
import type { NpmPackage } from "./sbom.ts";

interface Lock {
  readonly npm: Readonly<Record<string, { readonly integrity?: string }>>;
}

/** Every package of npm in the lock file of a checkout, sorted by name. */
export async function npmPackages(checkout: string): Promise<NpmPackage[]> {
  const lock: Lock = JSON.parse(await Deno.readTextFile(join(checkout, "deno.lock")));
  const caches = await cacheFolders(checkout);
  const found: NpmPackage[] = [];
  for (const [key, { integrity = "" }] of Object.entries(lock.npm).sort(([a], [b]) => a < b ? -1 : 1)) {
    // `NAME@VERSION`, and what its peers are resolved to after underscores.
    const [, name, version] = /^(@?[^@]+)@([^_]+)/.exec(key) ?? [];
    if (name === undefined || version === undefined) throw new Error(`deno.lock: cannot read ${key}`);
    found.push({ name, version, integrity, licence: await licenceOf(caches, name, version) });
  }
  return found.filter((one, i) =>
    i === 0 || one.name !== found[i - 1]!.name || one.version !== found[i - 1]!.version
  );
}

/** The folders of Deno's cache that hold packages: one for each registry. */
async function cacheFolders(checkout: string): Promise<string[]> {
  const { npmCache } = JSON.parse(await run(checkout, [Deno.execPath(), "info", "--json"])) as {
    npmCache: string;
  };
  return await Array.fromAsync(Deno.readDir(npmCache), ({ name }) => join(npmCache, name));
}

async function licenceOf(
  caches: readonly string[],
  name: string,
  version: string,
): Promise<string | undefined> {
  for (const cache of caches) {
    const text = await Deno.readTextFile(join(cache, name, version, "package.json")).catch(() => undefined);
    if (text === undefined) continue;
    const { license, licenses } = JSON.parse(text) as { license?: unknown; licenses?: { type?: unknown }[] };
    const old = typeof license === "object" && license !== null
      ? (license as { type?: unknown }).type
      : undefined;
    const found = license ?? licenses?.[0]?.type;
    if (typeof old === "string") return old;
    if (typeof found === "string") return found;
  }
  return undefined;
}

/** SHA-256 of a file, in hexadecimal digits. */
export async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path);
  for await (const chunk of file.readable) hash.update(chunk);
  return hash.digest("hex");
}
