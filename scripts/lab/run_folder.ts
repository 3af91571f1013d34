/**
 * The folder of one run of tests or faults: the executable under test, what it unpacks, and temporary files.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { labFolder, ownPrefix, removeFolder } from "./leftovers.ts";
import { startReaper } from "./reaper.ts";

const BUILD = fileURLToPath(new URL("../build.ts", import.meta.url));

/** A folder that goes with the run, also when the run is killed. */
export class RunFolder implements AsyncDisposable {
  readonly #reaper: Disposable;

  private constructor(readonly path: string) {
    this.#reaper = startReaper(`${ownPrefix()}run-`, path);
  }

  static async create(): Promise<RunFolder> {
    const folder = new RunFolder(`${labFolder()}/${ownPrefix()}run-${crypto.randomUUID().slice(0, 6)}`);
    await Deno.mkdir(folder.path);
    // As /tmp: tests run programs as other users, too.
    await Deno.mkdir(folder.temporary);
    await Deno.chmod(folder.temporary, 0o1777);
    return folder;
  }

  /** For TMPDIR of what the run starts. */
  get temporary(): string {
    return `${this.path}/tmp`;
  }

  /** What lets {@link ./daemon.ts} start the executable of {@link build}. */
  get environment(): Readonly<Record<string, string>> {
    return { FLANNELD_BINARY: `${this.path}/flanneld`, FLANNELD_CACHE_DIR: `${this.path}/cache` };
  }

  /**
   * Builds the executable, and starts it once: it unpacks itself before a test counts seconds.
   *
   * @throws {Error} If that fails, with what the build said; also when `stop` ends it
   */
  async build(stop: AbortSignal): Promise<void> {
    const { FLANNELD_BINARY, FLANNELD_CACHE_DIR } = this.environment;
    const out = FLANNELD_BINARY!;
    const build = ["run", "-A", BUILD, "--kind=self-extracting", `--out=${out}`];
    await finish(Deno.execPath(), build, { TMPDIR: this.temporary, NO_COLOR: "1" }, stop);
    await finish(out, ["-version"], { FLANNELD_CACHE_DIR: FLANNELD_CACHE_DIR! }, stop);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeFolder(this.path);
    this.#reaper[Symbol.dispose]();
  }
}

/**
 * Lets the daemons that this process starts be a fresh build, unless FLANNELD_BINARY names another one.
 *
 * @returns What takes the build away.
 * @throws {Error} If it fails, with what the build said.
 */
export async function useFreshBuild(): Promise<AsyncDisposable | undefined> {
  if (Deno.env.get("FLANNELD_BINARY")) return undefined;
  const folder = await RunFolder.create();
  try {
    await folder.build(new AbortController().signal);
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
  for (const [name, value] of Object.entries(folder.environment)) Deno.env.set(name, value);
  return folder;
}

async function finish(
  program: string,
  args: readonly string[],
  env: Record<string, string>,
  signal: AbortSignal,
): Promise<void> {
  const command = new Deno.Command(program, { args: [...args], env, signal, stdin: "null" });
  const { success, stdout, stderr } = await command.output();
  const text = new TextDecoder();
  if (!success) throw new Error(`${program} failed:\n${text.decode(stdout)}${text.decode(stderr)}`);
}
