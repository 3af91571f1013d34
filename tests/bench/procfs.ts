/**
 * Figures of a process and of its network namespace from the kernel, read cheaply enough to poll.
 *
 * @module
 */

/** USER_HZ, in which /proc/PID/stat counts: 100 on every Linux that Deno runs on. */
const TICKS_PER_SECOND = 100;

/** CPU time of a process with all its threads, user and kernel, in seconds. */
export function cpuSeconds(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  // The name (field 2) may hold spaces; utime and stime are fields 14 and 15 (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Resident memory of a process in megabytes (1,000,000 bytes): now, and its peak. */
export function memory(pid: number): { readonly now: number; readonly peak: number } {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const read = (key: string) =>
    Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1024 / 1e6;
  return { now: read("VmRSS"), peak: read("VmHWM") };
}

/**
 * IPv4 prefixes in the main routing table of a process's network namespace. Without `ip rule`s of its own the
 * kernel keeps local addresses in the same table, so only differences mean something.
 */
export function prefixCount(pid: number): number {
  const text = Deno.readTextFileSync(`/proc/${pid}/net/fib_triestat`);
  return Number(/^Main:[^]*?Prefixes:\s+(\d+)/m.exec(text)?.[1] ?? 0);
}
