/**
 * flanneld: argv → command.
 *
 * @module
 */
import { BACKENDS } from "./backends/registry.ts";
import { parseCommandLine } from "./lib/options/parse.ts";
import { runCommand } from "./lib/cli/commands.ts";
import { reportFailure } from "./lib/cli/failure.ts";

if (import.meta.main) {
  try {
    Deno.exitCode = await runCommand(
      parseCommandLine(Deno.args, Deno.env.toObject(), BACKENDS.options),
      BACKENDS,
    );
  } catch (error) {
    Deno.exitCode = reportFailure(error);
  }
  // Pool threads may sit in system calls that nothing ends; there is nothing left to wait for.
  Deno.exit();
}
