/**
 * How a daemon has to end.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Daemon, DaemonEnd } from "../../scripts/lab/daemon.ts";

/** How long the daemon may take, by its own clock, in milliseconds. */
const LIMIT_MS = 1_000;

/** How long all may take that begins with the signal, in milliseconds: the machine runs other tests, too. */
const WHOLE_LIMIT_MS = 5_000;

/** After a signal: with status 0, in a second between the signal and the last line of its log. */
export function assertOrderly(daemon: Daemon, { code, milliseconds }: DaemonEnd): void {
  assert.equal(code, 0, daemon.log);
  const times = daemon.log.split("\n").map((line) => Date.parse(line.split(" ", 1)[0]!));
  const signal = daemon.log.split("\n").findIndex((line) => line.includes("Got SIGTERM"));
  assert.ok(signal >= 0, daemon.log);
  const own = Math.max(...times.filter((time) => !isNaN(time))) - times[signal]!;
  assert.ok(own < LIMIT_MS, `took ${own} ms:\n${daemon.log}`);
  assert.ok(milliseconds < WHOLE_LIMIT_MS, `took ${milliseconds} ms:\n${daemon.log}`);
}
