/**
 * How full a file system is (statvfs(3)).
 *
 * @module
 */
import { check } from "./errno.ts";
import { cString, libc } from "./libc.ts";

/** Room of a file system, in bytes and files. */
export interface FileSystemRoom {
  readonly bytes: number;
  /** For programs without privileges. */
  readonly freeBytes: number;
  /** 0 where the file system has no limit of its own. */
  readonly files: number;
  readonly freeFiles: number;
}

/** The room of the file system that `path` is in. @throws {SystemError} As statvfs(3). */
export function fileSystemRoom(path: string): FileSystemRoom {
  // struct statvfs of 64-bit machines: u64 f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, …
  const fields = new BigUint64Array(16);
  check(libc().statvfs(cString(path), fields), `read the room of ${path}`);
  const unit = Number(fields[1]);
  return {
    bytes: Number(fields[2]) * unit,
    freeBytes: Number(fields[4]) * unit,
    files: Number(fields[5]),
    freeFiles: Number(fields[6]),
  };
}
