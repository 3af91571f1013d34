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
    stdin: () => new Response(Deno.stdin.readable).text(),
    print: (text) => console.log(text),
  });
}

async function runAsCommand(): Promise<number> {
  const [{ BACKENDS }, { parseCommandLine }, { runCommand }, { reportFailure }] = await Promise.all([
    import("./backends/registry.ts"),
    import("./lib/options/parse.ts"),
    import("./lib/cli/commands.ts"),
    import("./lib/cli/failure.ts"),
  ]);
  try {
    const invocation = parseCommandLine(Deno.args, Deno.env.toObject(), BACKENDS.options);
    return await runCommand(invocation, BACKENDS);
  } catch (error) {
    return reportFailure(error);
  }
}

if (import.meta.main) {
  const isPlugin = Deno.args.length === 1 && Deno.args[0] === "cni";
  Deno.exitCode = isPlugin ? await runAsPlugin() : await runAsCommand();
  // Pool threads may sit in system calls that nothing ends; there is nothing left to wait for.
  Deno.exit();
}
