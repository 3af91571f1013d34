/**
 * The built executable, for tests that need the real one.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { run } from "../../scripts/lab/process.ts";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** What the executable is made of. */
const SOURCES = ["main.ts", "deno.json", "lib", "backends", "scripts/build.ts", "scripts/build"];

/** Read once: tests change the variable for the hosts that they start. */
const GIVEN = Deno.env.get("FLANNELD_BINARY");

/**
 * The executable that FLANNELD_BINARY names, or else a self-extracting one, built if a source is newer. Builds of
 * test files that run at once wait for each other.
 */
export async function builtBinary(): Promise<string> {
  if (GIVEN) return GIVEN;
  const folder = `${CHECKOUT}/dist/test`;
  await Deno.mkdir(folder, { recursive: true });
  using lock = await Deno.open(`${folder}/.lock`, { create: true, write: true });
  await lock.lock(true);
  const out = `${folder}/flanneld`;
  if (await modified(out) > await newest(SOURCES.map((path) => `${CHECKOUT}/${path}`))) return out;
  const build = [Deno.execPath(), "run", "-A", `${CHECKOUT}/scripts/build.ts`];
  await run([...build, "--kind=self-extracting", `--out=${out}`]);
  return out;
}

/**
 * A command that runs {@link builtBinary} and lets it unpack beside itself: tests leave nothing in the host's folders.
 */
export async function builtCommand(): Promise<string> {
  const binary = await builtBinary();
  if (binary === GIVEN) return binary;
  const command = `${CHECKOUT}/dist/test/run`;
  const script =
    `#!/bin/sh\nexport FLANNELD_CACHE_DIR="${CHECKOUT}/dist/test/cache"\nexec "${binary}" "$@"\n`;
  // In one step: another test file may be running it.
  const temporary = `${command}.${Deno.pid}`;
  await Deno.writeTextFile(temporary, script, { mode: 0o755 });
  await Deno.rename(temporary, command);
  return command;
}

/** Lets daemons that are started from now on run `command` in place of main.ts, until it is disposed of. */
export function useCommand(command: string): Disposable {
  const before = Deno.env.get("FLANNELD_BINARY");
  Deno.env.set("FLANNELD_BINARY", command);
  return {
    [Symbol.dispose]: () =>
      before === undefined ? Deno.env.delete("FLANNELD_BINARY") : Deno.env.set("FLANNELD_BINARY", before),
  };
}

/** Time of the last change, in milliseconds since 1970; 0 if the file isn't there. */
async function modified(path: string): Promise<number> {
  try {
    return (await Deno.stat(path)).mtime?.getTime() ?? 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

/** The latest change below these files and folders. */
async function newest(paths: readonly string[]): Promise<number> {
  const times = await Promise.all(paths.map(async (path) => {
    if (!(await Deno.stat(path)).isDirectory) return await modified(path);
    const below: string[] = [];
    for await (const { name } of Deno.readDir(path)) below.push(`${path}/${name}`);
    return await newest(below);
  }));
  return Math.max(0, ...times);
}
