/**
 * Runs the tools that a build needs.
 *
 * @module
 */

import { basename } from "./paths.ts";

/** A tool that failed: its name, its status and what it said. */
export class ToolError extends Error {
  override readonly name = "ToolError";
}

/**
 * Runs a command to its end.
 *
 * @param folder working folder
 * @param env added to the environment
 * @param limit ends it after this time, in milliseconds
 * @returns what it wrote to stdout
 * @throws {ToolError} if it can't be started or its status isn't 0
 */
export async function run(
  folder: string,
  command: readonly [string, ...string[]],
  env: Readonly<Record<string, string>> = {},
  limit?: number,
): Promise<string> {
  const [program, ...args] = command;
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(program, {
      args,
      cwd: folder,
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
      stdin: "null",
      ...(limit === undefined ? {} : { signal: AbortSignal.timeout(limit) }),
    }).output();
  } catch (cause) {
    throw new ToolError(`Cannot run ${program}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
  const text = new TextDecoder();
  if (output.success) return text.decode(output.stdout);
  const said = (text.decode(output.stderr) + text.decode(output.stdout)).trim();
  throw new ToolError(`${basename(program)} ${args[0] ?? ""} ended with status ${output.code}: ${said}`);
}
