/**
 * Builds `dist/flanneld`: one executable that a host runs with nothing else installed.
 *
 *     deno task build [--target=x86_64|aarch64] [--out=FILE] [--kind=compiled|self-extracting] [--runtime=FILE]
 *
 * `deno compile` makes it where Deno's runtime base is to be had (downloaded, or DENORT_BIN). Where it isn't, the
 * build puts the Deno that runs it, or the one that `--runtime` names, into a file that unpacks itself.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { COMMIT, VERSION_TEXT } from "../lib/version.ts";
import { bundle } from "./build/bundle.ts";
import { compile } from "./build/compile.ts";
import { dirname, fromFileUrl, join } from "./build/paths.ts";
import { run, ToolError } from "./build/run.ts";
import { checkRuntime, findRuntime, type Target, targetOf } from "./build/runtime.ts";
import { selfExtracting } from "./build/self_extracting.ts";
import { runScript } from "./run_script.ts";

const ROOT = fromFileUrl(new URL("..", import.meta.url)).replace(/\/$/, "");

/** A program that hasn't printed its version after this time doesn't start, in milliseconds. */
const START_LIMIT = 30_000;

/** The command line, read. */
interface Options {
  readonly target: Target;
  readonly out: string;
  readonly kind: "compiled" | "self-extracting" | undefined;
  readonly runtime: string | undefined;
  readonly main: string;
}

function readOptions(args: string[]): Options {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args,
    options: { target: text, out: text, kind: text, runtime: text, main: text },
  });
  const { kind } = values;
  if (kind !== undefined && kind !== "compiled" && kind !== "self-extracting") {
    throw new Error(`--kind=${kind}: must be compiled or self-extracting`);
  }
  return {
    target: targetOf(values.target ?? Deno.build.arch),
    out: values.out ?? join(ROOT, "dist", "flanneld"),
    kind,
    runtime: values.runtime,
    main: values.main ?? join(ROOT, "main.ts"),
  };
}

/** Tries `deno compile`; a reason why not is what comes back, undefined if it worked. */
async function tryCompile(stage: string, options: Options): Promise<string | undefined> {
  if (options.kind === "self-extracting") return "asked for by --kind";
  const out = `${options.out}.new`;
  try {
    await compile({ stage, out, target: options.target.triple });
    await checkStarts(out, options.target);
    await Deno.rename(out, options.out);
    return undefined;
  } catch (error) {
    await removeIfThere(out);
    if (!(error instanceof ToolError) || options.kind === "compiled") throw error;
    const said = error.message.split("\n").filter((line) => /^error|error:|^\s*\d+: \w/.test(line));
    return `no runtime base for deno compile: ${said.at(-1)?.trim() ?? error.message}`;
  }
}

/** A runtime base of another version, as DENORT_BIN may name, gives a file that isn't this program. */
async function checkStarts(out: string, target: Target): Promise<void> {
  if (target.arch !== Deno.build.arch) return;
  const said = (await run(dirname(out), [out, "-version"], {}, START_LIMIT)).trim();
  if (said !== VERSION_TEXT) {
    throw new ToolError(`error: what deno compile made says ${JSON.stringify(said)}, not ${VERSION_TEXT}`);
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function build(options: Options, scratch: string): Promise<string> {
  const stage = join(scratch, "stage");
  await Deno.mkdir(stage);
  await Deno.mkdir(dirname(options.out), { recursive: true });
  await bundle({ root: dirname(options.main), main: options.main, stage, commit: COMMIT ?? "" });
  const reason = await tryCompile(stage, options);
  if (reason === undefined) return "compiled by deno compile";
  const runtime = options.runtime ?? await findRuntime(options.target, scratch);
  await checkRuntime(runtime, options.target);
  const { out, target } = options;
  await selfExtracting({ stage, runtime, out, version: VERSION_TEXT, arch: target.arch });
  return `self-extracting, with ${options.runtime ?? `Deno ${Deno.version.deno}`} (${reason})`;
}

async function main(): Promise<void> {
  const options = readOptions(Deno.args);
  const began = performance.now();
  const scratch = await Deno.makeTempDir({ prefix: "flanneld-build-" });
  try {
    const kind = await build(options, scratch);
    const { size } = await Deno.stat(options.out);
    const seconds = (performance.now() - began) / 1000;
    console.log(`${options.out}: flanneld ${VERSION_TEXT} for ${options.target.arch}, ${kind}`);
    console.log(`${(size / 1e6).toFixed(1)} MB, built in ${seconds.toFixed(1)} s`);
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

if (import.meta.main) await runScript("build", main);
