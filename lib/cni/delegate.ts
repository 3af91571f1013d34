/**
 * Calling the plugin that does the work, and what is remembered of it.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { CNI_ERROR, CniError } from "./error.ts";
import type { CniEnvironment, JsonMap } from "./request.ts";

/**
 * Runs the delegate with our environment.
 *
 * @param overrides Environment that replaces ours: GC calls DEL for others' containers.
 * @returns What it printed: its result. @throws {CniError} The delegate's own error, or why it could not be run.
 */
export async function runDelegate(
  conf: JsonMap,
  { path }: CniEnvironment,
  overrides: Readonly<Record<string, string>> = {},
): Promise<string> {
  const type = String(conf["type"]);
  const program = await findPlugin(type, path);
  const child = new Deno.Command(program, { env: { ...overrides }, stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  // A plugin that ends without reading its input says why in its answer.
  await writer.write(new TextEncoder().encode(JSON.stringify(conf))).then(() => writer.close()).catch(
    () => {},
  );
  const { code, stdout } = await child.output();
  const text = new TextDecoder().decode(stdout).trim();
  if (code !== 0) throw delegateError(type, code, text);
  return text;
}

async function findPlugin(type: string, path: readonly string[]): Promise<string> {
  if (type === "" || type.includes("/")) {
    throw new CniError(
      CNI_ERROR.invalidConfig,
      `delegate.type ${JSON.stringify(type)}: must be the name of a plugin`,
    );
  }
  for (const folder of path) {
    const candidate = `${folder}/${type}`;
    const isFile = await Deno.stat(candidate).then((info) => info.isFile, () => false);
    if (isFile) return candidate;
  }
  throw new CniError(
    CNI_ERROR.invalidConfig,
    `There is no plugin ${type} in ${path.join(":")} (CNI_PATH)`,
    "install the standard plugins (Debian: containernetworking-plugins), or name another delegate.type",
  );
}

function delegateError(type: string, code: number, text: string): CniError {
  try {
    const { code: own, msg, details } = JSON.parse(text) as { code?: number; msg?: string; details?: string };
    if (typeof own === "number" && typeof msg === "string") {
      return new CniError(own, `${type}: ${msg}`, details);
    }
  } catch {
    // No error object: what there is follows.
  }
  return new CniError(CNI_ERROR.delegate, `${type} ended with status ${code}`, text.slice(0, 500));
}

/** The delegates' configurations by container, in the files of flannel's own plugin: each takes the other's over. */
export class ConfCache {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Remembers a configuration for DEL, whole or not at all. @throws {CniError} If it can't be written. */
  async save(containerId: string, conf: JsonMap): Promise<void> {
    const path = this.#path(containerId), temporary = `${path}.new-${Deno.pid}`;
    try {
      await Deno.mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await Deno.writeTextFile(temporary, JSON.stringify(conf), { mode: 0o600 });
      await Deno.rename(temporary, path);
    } catch (error) {
      await Deno.remove(temporary).catch(() => {});
      throw new CniError(CNI_ERROR.io, `Cannot write ${path}: ${messageOf(error)}`);
    }
  }

  /** What ADD remembered; undefined: nothing, so that there is nothing to undo. @throws {CniError} */
  async load(containerId: string): Promise<JsonMap | undefined> {
    const path = this.#path(containerId);
    try {
      return JSON.parse(await Deno.readTextFile(path)) as JsonMap;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      const remedy = `remove it (rm ${path}); what ${containerId} had may then be left over`;
      throw new CniError(CNI_ERROR.io, `Cannot read ${path}: ${messageOf(error)}`, remedy);
    }
  }

  /** Forgets a container. */
  async forget(containerId: string): Promise<void> {
    await Deno.remove(this.#path(containerId)).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }

  /** The containers that something is remembered of. */
  async containers(): Promise<string[]> {
    try {
      const entries = await Array.fromAsync(Deno.readDir(this.#folder));
      return entries.filter(({ isFile, name }) => isFile && !name.includes(".new-")).map(({ name }) => name);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw new CniError(CNI_ERROR.io, `Cannot read ${this.#folder}: ${messageOf(error)}`);
    }
  }

  #path(containerId: string): string {
    return `${this.#folder}/${containerId}`;
  }
}
