/**
 * Files of /proc and /sys, through the C library: Deno itself opens them only for a program that may do everything,
 * and this one has narrower permissions when it is built.
 *
 * @module
 */
import { check } from "./errno.ts";
import { closeFd, openFd } from "./fd.ts";
import { cString, libc } from "./libc.ts";

/** Flag of open(2). */
const O_WRONLY = 1;

/** Number of getdents64(2) by architecture (asm/unistd.h). */
const SYS_GETDENTS64 = Deno.build.arch === "aarch64" ? 61n : 217n;

/** struct linux_dirent64 { u64 d_ino; s64 d_off; u16 d_reclen; u8 d_type; char d_name[]; } */
const DIRENT_RECLEN = 16, DIRENT_NAME = 19;

/** The longest path that the kernel gives (PATH_MAX, linux/limits.h). */
const PATH_BYTES = 4096;

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

/**
 * The names in a folder of /proc or /sys.
 *
 * @throws {SystemError} As open(2) and getdents64(2).
 */
export function listKernelFolder(path: string): string[] {
  const fd = openFd(path, 0);
  try {
    const names: string[] = [];
    const buffer = new Uint8Array(32 * 1024);
    const view = new DataView(buffer.buffer);
    const decoder = new TextDecoder();
    for (;;) {
      const size = BigInt(buffer.length);
      const length = check(libc().syscallBuffer(SYS_GETDENTS64, BigInt(fd), buffer, size), `list ${path}`);
      if (length === 0) return names;
      for (let at = 0; at < length;) {
        const end = at + view.getUint16(at + DIRENT_RECLEN, true);
        const bytes = buffer.subarray(at + DIRENT_NAME, end);
        const name = decoder.decode(bytes.subarray(0, bytes.indexOf(0)));
        if (name !== "." && name !== "..") names.push(name);
        at = end;
      }
    }
  } finally {
    closeFd(fd);
  }
}

/** Where a symbolic link of /proc or /sys points. @throws {SystemError} As readlink(2). */
export function readKernelLink(path: string): string {
  const buffer = new Uint8Array(PATH_BYTES);
  const length = check(
    libc().readlink(cString(path), buffer, BigInt(buffer.length)),
    `read the link ${path}`,
  );
  return new TextDecoder().decode(buffer.subarray(0, length));
}
