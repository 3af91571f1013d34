/**
 * `cleanup`: takes away everything that flanneld made on this host.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import { cleanUp } from "../daemon/cleanup.ts";
import { openLog } from "../observe/log.ts";
import type { Invocation } from "../options/parse.ts";

/** Removes what is there; exit status 0 also when nothing was, 1 when something could not be removed. */
export async function cleanupCommand({ options }: Invocation, backends: BackendRegistry): Promise<number> {
  const log = openLog({ format: options.logFormat, verbosity: options.v });
  return await cleanUp(options, backends, log) ? 0 : 1;
}
