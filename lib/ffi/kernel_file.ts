/**
 * Files of /proc and /sys, through the C library: Deno itself opens them only for a program that may do everything,
 * and this one has narrower permissions when it is built.
 *
 * @module
 */
import { check } from "./errno.ts";
import { closeFd, openFd } from "./fd.ts";
import { libc } from "./libc.ts";

/** Flag of open(2). */
const O_WRONLY = 1;

/** What the kernel gives in one read of the files that this program reads. */
const READ_BYTES = 4096;

/**
 * The text of a file of /proc or /sys.
 *
 * @throws {SystemError} As open(2) and read(2).
 */
export function readKernelFile(path: string): string {
  const fd = openFd(path, 0);
  try {
    const parts: string[] = [];
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(READ_BYTES);
    for (;;) {
      const length = check(libc().read(fd, buffer, BigInt(buffer.length)), `read ${path}`);
      if (length === 0) return parts.join("") + decoder.decode();
      parts.push(decoder.decode(buffer.subarray(0, length), { stream: true }));
    }
  } finally {
    closeFd(fd);
  }
}

/**
 * Writes a setting of /proc or /sys, in one write as the kernel wants it.
 *
 * @throws {SystemError} As open(2) and write(2): ENOENT where the kernel has no such setting, EROFS in containers.
 */
export function writeKernelFile(path: string, text: string): void {
  const fd = openFd(path, O_WRONLY);
  try {
    const bytes = new TextEncoder().encode(text);
    check(libc().write(fd, bytes, BigInt(bytes.length)), `write ${path}`);
  } finally {
    closeFd(fd);
  }
}
