/**
 * `cni install`.
 *
 * @module
 */
import { installCni } from "../cni/install.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";

/** Installs the CNI plugin and its network configuration, and prints what was written. */
export async function cniInstallCommand({ own }: Invocation): Promise<number> {
  const { options } = COMMANDS["cni install"];
  const written = await installCni({
    // The file that unpacks itself names itself; a compiled one is its own.
    executable: Deno.env.get("FLANNEL_EXECUTABLE") ?? Deno.execPath(),
    binFolder: own.get(options["cni-bin-dir"]),
    conflist: own.get(options["cni-conf"]),
    from: own.get(options["cni-conf-from"]),
  });
  for (const path of written) console.log(path);
  return 0;
}
