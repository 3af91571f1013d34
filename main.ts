/**
 * flanneld: argv → command.
 *
 * @module
 */

/** The CNI plugin is started for each container: it loads nothing of the daemon. */
async function runAsPlugin(): Promise<number> {
  const { runPlugin } = await import("./lib/cni/plugin.ts");
  return await runPlugin({
    env: (name) => Deno.env.get(name),
    stdin: readStdin,
    print,
  });
}

/** All of stdin. Deno's streams take 4 ms to load; a parent that made stdin non-blocking needs them. */
async function readStdin(): Promise<string> {
  const decoder = new TextDecoder(), buffer = new Uint8Array(65_536);
  let text = "";
  try {
    for (;;) {
      const length = Deno.stdin.readSync(buffer);
      if (length === null) return text + decoder.decode();
      text += decoder.decode(buffer.subarray(0, length), { stream: true });
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.WouldBlock)) throw error;
  }
  for await (const chunk of Deno.stdin.readable) text += decoder.decode(chunk, { stream: true });
  return text + decoder.decode();
}

function print(text: string): void {
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let written = 0; written < bytes.length;) written += Deno.stdout.writeSync(bytes.subarray(written));
}

async function runAsCommand(): Promise<number> {
  const [{ BACKENDS }, { parseCommandLine }, { runCommand }, { reportFailure }] = await Promise.all([
    import("./backends/registry.ts"),
    import("./lib/options/parse.ts"),
    import("./lib/cli/commands.ts"),
    import("./lib/cli/failure.ts"),
  ]);
  let command: string | undefined;
  try {
    const invocation = parseCommandLine(Deno.args, Deno.env.toObject(), BACKENDS.options);
    command = invocation.command;
    return await runCommand(invocation, BACKENDS);
  } catch (error) {
    return reportFailure(error, command);
  }
}

if (import.meta.main) {
  const isPlugin = Deno.args.length === 1 && Deno.args[0] === "cni";
  Deno.exitCode = isPlugin ? await runAsPlugin() : await runAsCommand();
  // Pool threads may sit in system calls that nothing ends; there is nothing left to wait for.
  Deno.exit();
}
