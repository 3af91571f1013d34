/**
 * Memory of this process that only its start needed, given back to the kernel.
 *
 * @module
 */
import { readKernelFile } from "./kernel_file.ts";
import { libc } from "./libc.ts";

/** Advice of madvise(2), asm-generic/mman-common.h: the pages may go. */
const MADV_DONTNEED = 4;

/** The head of a mapping in /proc/PID/smaps (proc_pid_smaps(5)): start, end, permissions, path. */
const HEAD = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)$/;

/** Part of the address space. */
export interface MemoryRange {
  readonly start: bigint;
  /** Bytes. */
  readonly length: bigint;
}

/**
 * Mappings of which all pages can be read again from their files: of files, not writable, and with no page of the
 * process's own. What the loader has relocated, for example, is such a page, though it is read-only afterwards.
 *
 * @param smaps The text of /proc/PID/smaps.
 */
export function fileMappings(smaps: string): MemoryRange[] {
  const found: MemoryRange[] = [];
  let candidate: MemoryRange | undefined;
  for (const line of smaps.split("\n")) {
    const [, start, end, permissions = "", path = ""] = HEAD.exec(line) ?? [];
    if (start !== undefined) {
      const isFile = path.startsWith("/") && !permissions.includes("w");
      const from = BigInt(`0x${start}`);
      candidate = isFile ? { start: from, length: BigInt(`0x${end}`) - from } : undefined;
    } else if (candidate && /^Anonymous: +0 kB$/.test(line)) {
      found.push(candidate);
    }
  }
  return found;
}

/**
 * Gives back free memory of the C library's allocator, and the pages of the executable and its libraries. The kernel
 * keeps those in its page cache for as long as nobody else wants the memory: what the process still runs comes back
 * without a read from the disk, and what only its start ran doesn't.
 *
 * @throws {SystemError} If /proc can't be read.
 */
export function releaseUnusedMemory(): void {
  const { madvise, malloc_trim } = libc();
  malloc_trim(0n);
  for (const { start, length } of fileMappings(readKernelFile("/proc/self/smaps"))) {
    // Pages that are locked (mlock(2)) stay, and that's all that a failure means.
    madvise(start, length, MADV_DONTNEED);
  }
}
