/**
 * Files of the host as checks read them: what isn't there is a fact, what can't be read is remembered and shown.
 *
 * @module
 */
import { messageOf } from "../errors.ts";

/** Not /proc and /sys: those are the kernel view's. */
export class HostFiles {
  /** Why each path that is there could not be read. */
  readonly unreadable = new Map<string, string>();

  /** A file's text; undefined where it isn't there, or can't be read. */
  text(path: string): Promise<string | undefined> {
    return this.#ask(path, () => Deno.readTextFile(path));
  }

  /** The names in a folder; none where it isn't there, or can't be read. */
  async names(folder: string): Promise<readonly string[]> {
    const entries = await this.#ask(folder, () => Array.fromAsync(Deno.readDir(folder)));
    return (entries ?? []).map(({ name }) => name).sort();
  }

  /** Permission bits of a file; undefined where it isn't there, or can't be seen. */
  async mode(path: string): Promise<number | undefined> {
    const stat = await this.#ask(path, () => Deno.stat(path));
    const mode = stat?.mode ?? undefined;
    return mode === undefined ? undefined : mode & 0o7777;
  }

  /** Whether there is such a file or folder; not where that can't be seen. */
  async exists(path: string): Promise<boolean> {
    return await this.#ask(path, () => Deno.stat(path)) !== undefined;
  }

  async #ask<T>(path: string, ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await ask();
    } catch (error) {
      if (!isAbsent(error)) this.unreadable.set(path, messageOf(error));
      return undefined;
    }
  }
}

/** ENOENT; ENOTDIR, where a file stands in the place of a folder on the way. */
function isAbsent(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory;
}
