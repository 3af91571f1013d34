/**
 * Tests that each run in a network namespace of their own.
 *
 * The namespace belongs to a child process (`unshare --net`) that runs the same file again, and nothing but the
 * test that its environment names. It goes with the process: nothing is left behind, whatever happens.
 *
 * @module
 */

/** Environment variable that names the test a child is to run. */
const VARIABLE = "FLANNELD_TEST_IN_NAMESPACE";
/** What a child says last: a test that wasn't found would otherwise pass. */
const DONE = "the test in the namespace is done";
const TIMEOUT_MS = 60_000;

/**
 * Registers a test that runs in a new network namespace, with lo down and nothing else in it.
 *
 * @param meta `import.meta` of the file that calls.
 * @param name Unique within the file.
 */
export function namespaceTest(meta: ImportMeta, name: string, fn: () => void | Promise<void>): void {
  const wanted = Deno.env.get(VARIABLE);
  if (wanted === undefined) {
    Deno.test({
      name: `${name} (needs root)`,
      ignore: Deno.uid() !== 0,
      fn: () => runInChild(meta.url, name),
    });
  } else if (wanted === name) {
    // A rejection ends the process with status 1 and the error on stderr.
    Promise.resolve().then(fn).then(() => console.log(DONE));
  }
}

async function runInChild(file: string, name: string): Promise<void> {
  const command = new Deno.Command("unshare", {
    args: ["--net", Deno.execPath(), "run", "-A", "--no-check", "--quiet", file],
    env: { [VARIABLE]: name, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const { code, signal, stdout, stderr } = await command.output();
  const [said, complained] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (code === 0 && said!.trimEnd().endsWith(DONE)) return;
  throw new Error(`In the namespace (${signal ?? `status ${code}`}):\n${said}${complained}`);
}

/** Runs a program in the namespace that the caller is in, as `ip` to see or change what it shows. */
export function run(program: string, ...args: string[]): string {
  const { code, stdout, stderr } = new Deno.Command(program, { args }).outputSync();
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}
