/**
 * What Prometheus' clients report of their process, and what runs.
 *
 * @module
 */
import { countOpenFds } from "../ffi/fd.ts";
import { readKernelFile } from "../ffi/kernel_file.ts";
import { FIREWALL_ERRORS, FIREWALL_REPAIRS } from "../firewall/metrics.ts";
import { LEASE_CONFLICTS, LEASE_RENEWALS, STORE_ERRORS } from "../leases/metrics.ts";
import type { Metrics } from "../observe/types.ts";
import { COMMIT, VERSION } from "../version.ts";
import { BUILD_INFO, CPU_SECONDS, MAX_FDS, OPEN_FDS, RESIDENT_MEMORY, START_TIME } from "./metrics.ts";

/** USER_HZ, in which /proc counts: 100 on every Linux that user space sees. */
const TICKS_PER_SECOND = 100;

/** Counters that alerts watch for growth: one that appears with its first event has not grown by it. */
const FROM_ZERO = [STORE_ERRORS, LEASE_CONFLICTS, LEASE_RENEWALS, FIREWALL_ERRORS, FIREWALL_REPAIRS] as const;

/** Adds them to the metrics, read at each read-out. */
export function reportProcess(metrics: Metrics): Disposable {
  for (const spec of FROM_ZERO) metrics.count(spec, {}, 0);
  metrics.gauge(BUILD_INFO, 1, { version: VERSION, commit: COMMIT ?? "unknown", deno: Deno.version.deno });
  return metrics.onCollect(() => {
    const { userTicks, systemTicks, startTicks } = parseStat(readKernelFile("/proc/self/stat"));
    metrics.total(CPU_SECONDS, (userTicks + systemTicks) / TICKS_PER_SECOND);
    metrics.gauge(START_TIME, bootTime() + startTicks / TICKS_PER_SECOND);
    metrics.gauge(RESIDENT_MEMORY, Deno.memoryUsage().rss);
    const limit = fdLimit(readKernelFile("/proc/self/limits"));
    metrics.gauge(MAX_FDS, limit);
    metrics.gauge(OPEN_FDS, countOpenFds(fdSlots(readKernelFile("/proc/self/status"))));
  });
}

/** Numbers of /proc/PID/stat, in ticks (proc(5)): fields 14, 15 and 22. */
interface ProcessStat {
  readonly userTicks: number;
  readonly systemTicks: number;
  /** When the process started, since the boot. */
  readonly startTicks: number;
}

/** Reads /proc/PID/stat. The second field, the program's name in parentheses, may hold anything. */
function parseStat(text: string): ProcessStat {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ").map(Number);
  // The first of these is field 3.
  return { userTicks: fields[11]!, systemTicks: fields[12]!, startTicks: fields[19]! };
}

/** When the host booted, in seconds since the epoch. */
function bootTime(): number {
  return Number(/^btime (\d+)$/m.exec(readKernelFile("/proc/stat"))?.[1] ?? NaN);
}

/** Soft limit of open files; Infinity for none. */
function fdLimit(limits: string): number {
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1];
  return soft === "unlimited" ? Infinity : Number(soft ?? NaN);
}

/** How many slots the table of file descriptors has: none above is open. */
function fdSlots(status: string): number {
  return Number(/^FDSize:\s+(\d+)/m.exec(status)?.[1] ?? 0);
}
