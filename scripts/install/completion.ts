/**
 * The completion scripts that are installed: of all options, the backends' included.
 *
 * @module
 */
import { BACKENDS } from "../../backends/registry.ts";
import { completionScript } from "../../lib/cli/completion.ts";
import { withBackendOptions } from "../../lib/options/table.ts";

/** The completion script for a shell. */
export function completion(shell: string): string {
  return completionScript(shell, withBackendOptions(BACKENDS.options));
}
