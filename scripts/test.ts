/**
 * Runs all unit and lab tests and ends with one line that counts them.
 *
 *     deno run -A scripts/test.ts [WORD]…      only files whose path has one of the words
 *     deno run -A scripts/test.ts --filter=TEXT   only tests whose name has the text
 *     deno run -A scripts/test.ts --folder=PATH   the tests below another folder
 *
 * The executable is built once, for lab tests to start, in a folder that goes with the run; FLANNELD_BINARY names
 * another one. Types are checked meanwhile; then every file runs in a process of its own (four at a time), so that
 * a crash or a file that hangs costs one failure and not the run. A failure is a failure: nothing is tried twice.
 * Status 0 only if something ran and nothing failed.
 *
 * @module
 */
import { TextLineStream } from "./text_lines.ts";
import { addCounts, type Counts, countsOf, formatCounts, NONE, parseTestLine } from "./test_summary.ts";
import { removeLeftovers } from "./lab/leftovers.ts";
import { longestFirst } from "./test_order.ts";
import { RunFolder } from "./lab/run_folder.ts";

const FOLDERS = ["tests/unit", "tests/lab"] as const;
const AT_ONCE = 4;
/** A single file may take this long, in milliseconds. */
const FILE_LIMIT = 10 * 60_000;
/** The whole run may take this long, in milliseconds. */
const RUN_LIMIT = 25 * 60_000;
/** Time to clean up between SIGTERM and SIGKILL, in milliseconds. */
const GRACE = 15_000;

interface Options {
  readonly folders: readonly string[];
  readonly words: readonly string[];
  readonly filter: string | undefined;
}

interface FileResult {
  readonly path: string;
  readonly counts: Counts;
  readonly output: string;
  readonly skipped: readonly string[];
}

function parseOptions(args: readonly string[]): Options {
  const value = (name: string) => args.find((arg) => arg.startsWith(name))?.slice(name.length);
  const folder = value("--folder=");
  return {
    folders: folder === undefined ? FOLDERS : [folder],
    words: args.filter((arg) => !arg.startsWith("-")),
    filter: value("--filter="),
  };
}

async function testFiles(folder: string): Promise<string[]> {
  const found: string[] = [];
  try {
    for await (const entry of Deno.readDir(folder)) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory) found.push(...await testFiles(path));
      else if (entry.name.endsWith("_test.ts")) found.push(path);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found.sort();
}

/** Children find the tools even where a plain `su` left the sbin folders out of PATH. */
const CHILD_ENV = {
  NO_COLOR: "1",
  PATH: `${Deno.env.get("PATH") ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`,
};

/** @throws {Error} With what is wrong. */
async function checkTypes(files: readonly string[]): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", "--quiet", ...files],
    env: CHILD_ENV,
  }).output();
  const text = new TextDecoder();
  if (!success) throw new Error(text.decode(stdout) + text.decode(stderr));
}

/** Sends SIGTERM (the lab then takes its namespaces away), and SIGKILL to one that doesn't end. */
async function end(child: Deno.ChildProcess): Promise<void> {
  const signal = (name: Deno.Signal) => {
    try {
      child.kill(name);
    } catch {
      // Ended already.
    }
  };
  signal("SIGTERM");
  const timer = setTimeout(() => signal("SIGKILL"), GRACE);
  await child.status;
  clearTimeout(timer);
}

async function runFile(
  path: string,
  options: Options,
  env: Readonly<Record<string, string>>,
  stop: AbortSignal,
): Promise<FileResult> {
  const args = ["test", "-A", "--no-check"];
  if (options.filter !== undefined) args.push(`--filter=${options.filter}`);
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args, path],
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const limit = AbortSignal.any([stop, AbortSignal.timeout(FILE_LIMIT)]);
  const onLimit = () => void end(child);
  limit.addEventListener("abort", onLimit, { once: true });
  const lines: string[] = [];
  const skipped: string[] = [];
  const read = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
    for await (const line of stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())) {
      lines.push(line);
      const test = parseTestLine(line);
      if (test === undefined) continue;
      if (test.result === "ignored") skipped.push(test.name);
      else if (!isUnit(path)) {
        console.log(`    ${shortName(path)}: ${test.name} ... ${test.result} (${test.time})`);
      }
    }
  };
  const [{ success }] = await Promise.all([child.status, read(child.stdout), read(child.stderr)]);
  limit.removeEventListener("abort", onLimit);
  if (limit.aborted) lines.push(`stopped: ${stop.aborted ? "the run was ended" : "the file took too long"}`);
  return {
    path,
    counts: countsOf(lines.join("\n"), success && !limit.aborted),
    output: lines.join("\n"),
    skipped,
  };
}

/** Whether a file needs no executable; also its results are too many for a line each. */
function isUnit(path: string): boolean {
  return path.startsWith("tests/unit/");
}

function shortName(path: string): string {
  return path.replace(/^tests\//, "").replace(/_test\.ts$/, "");
}

function report(result: FileResult, milliseconds: number): void {
  const word = result.counts.failed > 0 ? "FAIL" : "ok  ";
  console.log(
    `${word} ${shortName(result.path)}: ${formatCounts(result.counts)} (${
      (milliseconds / 1000).toFixed(1)
    } s)`,
  );
  if (result.counts.failed > 0) console.log(result.output.replaceAll(/^/gm, "     | "));
}

/**
 * Runs the files, {@link AT_ONCE} at a time: one worker begins with what needs no executable, the others wait for
 * it. Files that need it don't run if it can't be built.
 */
async function runAll(
  files: readonly string[],
  built: Promise<boolean>,
  run: (path: string) => Promise<FileResult>,
  stop: AbortSignal,
): Promise<FileResult[]> {
  const unit = files.filter(isUnit);
  const lab = longestFirst(files.filter((path) => !isUnit(path)));
  const results: FileResult[] = [];
  const worker = async (queues: readonly string[][]) => {
    for (const queue of queues) {
      if (queue === lab && !(await built)) continue;
      for (let path = queue.shift(); path !== undefined && !stop.aborted; path = queue.shift()) {
        const began = performance.now();
        const result = await run(path);
        report(result, performance.now() - began);
        results.push(result);
      }
    }
  };
  await Promise.all(
    Array.from({ length: AT_ONCE }, (_, index) => worker(index === 0 ? [unit, lab] : [lab, unit])),
  );
  return results;
}

/** Ends the run on Ctrl-C, SIGTERM and the time limit; children clean up first. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  const stop = (why: string) => {
    if (controller.signal.aborted) return;
    console.log(`ending the run: ${why}`);
    controller.abort();
  };
  Deno.addSignalListener("SIGINT", () => stop("SIGINT"));
  Deno.addSignalListener("SIGTERM", () => stop("SIGTERM"));
  Deno.unrefTimer(setTimeout(() => stop(`it took over ${RUN_LIMIT / 60_000} minutes`), RUN_LIMIT));
  return controller.signal;
}

function reportSkipped(results: readonly FileResult[]): void {
  const skipped = results.flatMap(({ path, skipped }) =>
    skipped.map((name) => `${shortName(path)}: ${name}`)
  );
  if (skipped.length > 0) console.log(`skipped:\n  ${skipped.join("\n  ")}`);
}

async function cleanUp(): Promise<void> {
  if (Deno.uid() !== 0) return;
  const removed = await removeLeftovers();
  if (removed.length > 0) console.log(`removed what a killed run left: ${removed.join(", ")}`);
}

/** Waits for what tests need; a failure of it is printed, and counts as a failed test. */
async function succeeds(what: string, work: Promise<void>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    console.log(`FAIL ${what}\n${error instanceof Error ? error.message : error}`);
    return false;
  }
}

/** @returns The exit status. */
async function main(): Promise<number> {
  const options = parseOptions(Deno.args);
  const stop = stopSignal();
  const all = (await Promise.all(options.folders.map(testFiles))).flat();
  const files = all.filter((path) =>
    options.words.length === 0 || options.words.some((word) => path.includes(word))
  );
  if (files.length === 0) {
    console.log("no test ran");
    return 1;
  }
  await cleanUp();
  await using folder = await RunFolder.create();
  const build = Deno.uid() === 0 && !Deno.env.get("FLANNELD_BINARY") && !files.every(isUnit);
  const env = {
    ...CHILD_ENV,
    ...(build ? folder.environment : {}),
    // Hosts with systemd keep their root in the usual folder for temporary files.
    ...(options.folders === FOLDERS ? { TMPDIR: folder.temporary } : {}),
  };
  const types = succeeds("types", checkTypes(files));
  const built = succeeds("build", build ? folder.build(stop) : Promise.resolve());
  const results = await runAll(files, built, (path) => runFile(path, options, env, stop), stop);
  const unready = [await types, await built].filter((ok) => !ok).length;
  const counts = results.reduce((sum, result) => addCounts(sum, result.counts), { ...NONE, failed: unready });
  const unrun = files.length - results.length;
  if (unrun > 0) console.log(`${unrun} files didn't run`);
  await cleanUp();
  reportSkipped(results);
  const failed = results.filter((result) => result.counts.failed > 0).map(({ path }) => path);
  if (failed.length > 0) console.log(`failed files:\n  ${failed.join("\n  ")}`);
  if (counts.passed + counts.failed === 0) console.log("no test ran");
  console.log(formatCounts(counts));
  return counts.failed > 0 || counts.passed === 0 || stop.aborted ? 1 : 0;
}

Deno.exit(await main());
