/**
 * The executable that `deno compile` makes: small, and it starts without unpacking anything.
 *
 * It needs Deno's runtime base (denort). Deno takes it from DENORT_BIN, from its cache, or downloads it; whether it
 * can is found out by trying.
 *
 * @module
 */
import { join } from "./paths.ts";
import { PERMISSIONS, V8_FLAGS } from "./permissions.ts";
import { run } from "./run.ts";

/** What {@link compile} needs to know. */
export interface CompileOptions {
  /** The folder of {@link ./bundle.ts}. */
  readonly stage: string;
  /** The file to write. */
  readonly out: string;
  /** A triple of `deno compile --target`. */
  readonly target: string;
}

/** A download that doesn't get on ends after this time, in milliseconds. */
const LIMIT = 300_000;

/** The command line, for the folder `stage` as working folder. */
export function compileCommand(options: CompileOptions): [string, ...string[]] {
  return [
    Deno.execPath(),
    "compile",
    ...["--quiet", "--no-check", "--no-config", "--no-lock", "--no-remote", "--no-npm"],
    V8_FLAGS,
    ...PERMISSIONS,
    ...["--target", options.target, "--include", "app"],
    ...["--output", options.out, join("app", "main.js")],
  ];
}

/**
 * Compiles the program.
 *
 * @throws {ToolError} if there is no runtime base to be had; its message says why
 */
export async function compile(options: CompileOptions): Promise<void> {
  await run(options.stage, compileCommand(options), {}, LIMIT);
}
