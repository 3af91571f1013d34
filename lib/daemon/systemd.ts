/**
 * Notifies the service manager, where there is one.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { notify, notifyEnvironment } from "../observe/sd_notify.ts";
import type { ProblemReporter } from "../observe/types.ts";
import { pause } from "../time/pause.ts";

/** Notifies systemd; a failure is a problem, and changes nothing else. */
export function notifySystemd(state: Readonly<Record<string, string>>, problems: ProblemReporter): void {
  try {
    notify(Deno.env.get("NOTIFY_SOCKET") || undefined, state);
    problems.clear("systemd", "notified");
  } catch (error) {
    problems.set("systemd", `cannot notify the service manager: ${messageOf(error)}`);
  }
}

/** Sends the signs of life that the manager asked for, until the signal fires. */
export async function feedWatchdog(signal: AbortSignal, problems: ProblemReporter): Promise<void> {
  const { watchdogInterval } = notifyEnvironment(Deno.env.toObject(), Deno.pid);
  if (watchdogInterval === undefined) return;
  while (!signal.aborted) {
    notifySystemd({ WATCHDOG: "1" }, problems);
    await pause(watchdogInterval, signal);
  }
}
