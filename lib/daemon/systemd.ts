/**
 * Telling the service manager, where there is one.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { notify, notifyEnvironment } from "../observe/sd_notify.ts";
import type { Log } from "../observe/types.ts";
import { pause } from "../pause.ts";

/** Tells systemd; a manager that doesn't listen is told of in the log and changes nothing. */
export function notifySystemd(state: Readonly<Record<string, string>>, log: Log): void {
  try {
    notify(Deno.env.get("NOTIFY_SOCKET") || undefined, state);
  } catch (error) {
    log.warn("Cannot notify systemd", { error: messageOf(error) });
  }
}

/** Sends the signs of life that the manager asked for, until the signal fires. */
export async function feedWatchdog(signal: AbortSignal, log: Log): Promise<void> {
  const { watchdogInterval } = notifyEnvironment(Deno.env.toObject(), Deno.pid);
  if (watchdogInterval === undefined) return;
  while (!signal.aborted) {
    notifySystemd({ WATCHDOG: "1" }, log);
    await pause(watchdogInterval, signal);
  }
}
