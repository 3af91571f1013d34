/**
 * One daemon for one subnet file: a lock beside it, held for as long as the process lives.
 *
 * The kernel gives the lock back when the process ends, however it ends (flock(2)); a file that a killed daemon left
 * isn't a lock.
 *
 * @module
 */
import { dirname } from "node:path";
import { messageOf } from "../errors.ts";
import type { Options } from "../options/table.ts";
import { pause } from "../time/pause.ts";

/** How long a holder may take to end: one daemon replaces another, in milliseconds. */
export const LOCK_PATIENCE_MS = 2_000;

/** Pause between two tries, in milliseconds. */
export const LOCK_RETRY_MS = 50;

/** Another process uses the same files. The message says which one, and what to do. */
export class LockedError extends Error {
  override readonly name = "LockedError";
  /** @param holder Like `flanneld (process 1234)`. */
  constructor(readonly holder: string, message: string) {
    super(message);
  }
}

/** `/run/flannel/subnet.lock` beside `/run/flannel/subnet.env`. */
export function lockPath(options: Pick<Options, "subnetFile">): string {
  return options.subnetFile.replace(/(\.[^./]*)?$/, ".lock");
}

/** The lock, held until it is disposed. */
export class DaemonLock implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;

  private constructor(path: string, file: Deno.FsFile) {
    this.#path = path;
    this.#file = file;
  }

  /**
   * Takes the lock. Makes the folder.
   *
   * @param who What this process is, for others: `flanneld`.
   * @throws {LockedError} If another process holds it and goes on.
   * @throws {Error} If the file can't be made.
   */
  static async take(
    options: Pick<Options, "subnetFile">,
    who: string,
    signal: AbortSignal,
  ): Promise<DaemonLock> {
    const path = lockPath(options);
    const deadline = performance.now() + LOCK_PATIENCE_MS;
    for (;;) {
      const lock = DaemonLock.#try(path, who);
      if (lock instanceof DaemonLock) return lock;
      if (performance.now() > deadline) {
        const message = `${lock} uses the same files, and holds ${path}: stop it, or give this one its own ` +
          "-subnet-file and -etcd-prefix";
        throw new LockedError(lock, message);
      }
      await pause(LOCK_RETRY_MS, signal);
      signal.throwIfAborted();
    }
  }

  /** @returns The lock, or who holds it. */
  static #try(path: string, who: string): DaemonLock | string {
    let file: Deno.FsFile | undefined;
    try {
      Deno.mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
      // For root only: anybody who may open it could lock it.
      file = Deno.openSync(path, { read: true, write: true, create: true, mode: 0o600 });
      if (!file.tryLockSync(true)) {
        const holder = readHolder(file);
        file.close();
        return holder;
      }
      if (!isStill(file, path)) {
        file.close();
        return DaemonLock.#try(path, who);
      }
      file.truncateSync();
      file.writeSync(new TextEncoder().encode(`${who} (process ${Deno.pid})\n`));
      return new DaemonLock(path, file);
    } catch (error) {
      file?.close();
      throw new Error(`Cannot lock ${path}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Gives it back, and takes the file away. */
  [Symbol.dispose](): void {
    try {
      Deno.removeSync(this.#path);
    } catch {
      // Somebody took it away; the lock ends with the file's closing.
    }
    this.#file.close();
  }
}

/**
 * The process that holds the lock.
 *
 * @param who As in {@link DaemonLock.take}.
 * @returns Its id as it sees itself; undefined if another program holds it, nobody does, or it can't be seen.
 */
export function lockHolder(options: Pick<Options, "subnetFile">, who: string): number | undefined {
  let file: Deno.FsFile | undefined;
  try {
    file = Deno.openSync(lockPath(options));
    // Shared: two that look at once don't take each other for a holder.
    if (file.tryLockSync(false)) return undefined;
    const [, name, pid] = /^(.*) \(process (\d+)\)$/.exec(readHolder(file)) ?? [];
    return name === who ? Number(pid) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) {
      return undefined;
    }
    throw error;
  } finally {
    file?.close();
  }
}

/** What the holder wrote about itself. */
function readHolder(file: Deno.FsFile): string {
  const buffer = new Uint8Array(256);
  const length = file.readSync(buffer) ?? 0;
  return new TextDecoder().decode(buffer.subarray(0, length)).trim() || "another flanneld";
}

/** Whether the locked file is the one at the path: the holder before takes its file away. */
function isStill(file: Deno.FsFile, path: string): boolean {
  const locked = file.statSync();
  try {
    const there = Deno.statSync(path);
    return locked.ino === there.ino && locked.dev === there.dev;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
