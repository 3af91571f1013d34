/**
 * Where a daemon's options stand outside of a command line: a process's words, and the service's environment file.
 *
 * @module
 */

/** What a daemon was started with: its arguments, and the variables that may be options. */
export interface ServiceWords {
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/** The unit's EnvironmentFile and the variable that its ExecStart takes arguments from. */
export const SERVICE_FILE = "/etc/default/flanneld";
const ARGUMENTS = "FLANNEL_OPTIONS";

/** Options come from variables with this prefix. */
const PREFIX = "FLANNELD_";

/**
 * Reads an environment file by the rules of systemd.exec(5), but for continued lines and escapes in double quotes.
 *
 * @param text `NAME=value`, one a line; lines that begin with # or ; are comments.
 */
export function wordsOfFile(text: string): ServiceWords {
  const variables: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const [, name, value] = /^\s*([A-Za-z_]\w*)=(.*?)\s*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) continue;
    variables[name] = /^(["'])(.*)\1$/.exec(value)?.[2] ?? value;
  }
  const args = (variables[ARGUMENTS] ?? "").split(/\s+/).filter(Boolean);
  return { args, environment: optionsAmong(variables) };
}

/**
 * Reads what the kernel shows of a process.
 *
 * @param cmdline Text of /proc/PID/cmdline: words that end with a zero byte each (proc(5)).
 * @param environ Text of /proc/PID/environ, likewise.
 * @returns undefined if the process isn't a flanneld.
 */
export function wordsOfProcess(cmdline: string, environ: string): ServiceWords | undefined {
  const words = cmdline.split("\0").slice(0, -1);
  // Deno runs main.js (in a checkout main.ts); a compiled executable has no such word.
  const main = words.findIndex((word) => /(^|\/)main\.[jt]s$/.test(word));
  const isCompiled = main < 0 && /(^|\/)flanneld[^/]*$/.test(words[0] ?? "");
  if (main < 0 && !isCompiled) return undefined;
  const pairs = environ.split("\0").map((pair) => pair.split(/=(.*)/s, 2) as [string, string?]);
  const variables = Object.fromEntries(pairs.map(([name, value]) => [name, value ?? ""]));
  return { args: words.slice(isCompiled ? 1 : main + 1), environment: optionsAmong(variables) };
}

function optionsAmong(variables: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => name.startsWith(PREFIX)));
}
