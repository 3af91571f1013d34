/**
 * `cni install`.
 *
 * @module
 */
import { installCni } from "../cni/install.ts";
import type { Invocation } from "../options/parse.ts";

/** Installs the CNI plugin and its network configuration, and prints what was written. */
export async function cniInstallCommand({ options }: Invocation): Promise<number> {
  const written = await installCni({
    // The file that unpacks itself names itself; a compiled one is its own.
    executable: Deno.env.get("FLANNEL_EXECUTABLE") ?? Deno.execPath(),
    binFolder: options.cniBinDir,
    conflist: options.cniConf,
    from: options.cniConfFrom,
  });
  for (const path of written) console.log(path);
  return 0;
}
