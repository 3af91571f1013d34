/**
 * The daemon as a command: signals, log, exit status.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import { openLog } from "../observe/log.ts";
import { MetricsRegistry } from "../observe/metrics.ts";
import { runDaemon } from "../daemon/run.ts";
import type { Invocation } from "../options/parse.ts";
import { describeFailure } from "./failure.ts";
import { UsageError } from "../options/usage_error.ts";

/** Runs until SIGTERM or SIGINT (status 0), or until it can't go on (status 1). */
export async function daemonCommand(
  { options, warnings }: Invocation,
  backends: BackendRegistry,
): Promise<number> {
  const log = openLog({ format: options.logFormat, verbosity: options.v });
  for (const warning of warnings) log.warn(warning);
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => {
      log.info(`Got ${signal}`);
      stop.abort(new Error(`ended by ${signal}`));
    });
  }
  try {
    await runDaemon(options, { backends, log, metrics: new MetricsRegistry(), signal: stop.signal });
    return 0;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    log.error(`flanneld can't go on: ${describeFailure(error)}`);
    return 1;
  }
}
