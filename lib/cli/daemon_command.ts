/**
 * The daemon as a command: signals, log, exit status.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import { openLog } from "../observe/log.ts";
import { LogTail } from "../observe/log_tail.ts";
import { MetricsRegistry } from "../observe/metrics.ts";
import { killGroups } from "../ffi/process_group.ts";
import { runDaemon } from "../daemon/run.ts";
import type { Invocation } from "../options/parse.ts";
import { describeFailure } from "../errors.ts";
import { UsageError } from "../options/usage_error.ts";

/** How long an orderly end may take, in milliseconds: service managers and people expect less than a second. */
const END_MS = 800;

/** How long a firewall program under way may take then; one that hangs is ended with all that it started. */
const PROGRAMS_END_MS = 400;

/** Runs until SIGTERM or SIGINT (status 0), or until it can't go on (status 1). */
export async function daemonCommand(
  { options, warnings }: Invocation,
  backends: BackendRegistry,
): Promise<number> {
  const tail = new LogTail();
  const log = openLog({ format: options.logFormat, verbosity: options.v, tail });
  for (const warning of warnings) log.warn(warning);
  const stop = new AbortController();
  const forced = Promise.withResolvers<number>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => {
      if (stop.signal.aborted) {
        log.warn(`Got ${signal} again, ending at once`);
        return forced.resolve(1);
      }
      log.info(`Got ${signal}`);
      stop.abort(new Error(`ended by ${signal}`));
      setTimeout(killGroups, PROGRAMS_END_MS);
      setTimeout(() => {
        log.warn(`flanneld ends with parts still at work after ${END_MS} ms; the data path stays as it is`);
        forced.resolve(0);
      }, END_MS);
    });
  }
  const ended = runDaemon(options, {
    backends,
    log,
    tail,
    metrics: new MetricsRegistry(),
    signal: stop.signal,
  })
    .then(() => 0, (error) => {
      if (error instanceof UsageError) throw error;
      log.error(`flanneld can't go on: ${describeFailure(error)}`);
      return 1;
    });
  try {
    return await Promise.race([ended, forced.promise]);
  } finally {
    killGroups();
  }
}
