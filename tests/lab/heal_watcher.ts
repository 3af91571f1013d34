/**
 * Programs that watch: `ip monitor`, `nft monitor`, a ping without an end.
 *
 * @module
 */
import type { Namespace } from "../../scripts/lab/namespace.ts";

/** What a program that watches the kernel prints between two moments. */
export class Watcher {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<string>;

  /** @param end The signal that makes it print what it has to say and end. */
  constructor(place: Namespace, command: readonly string[], readonly end: Deno.Signal = "SIGTERM") {
    this.#child = place.spawn(command);
    this.#reading = Promise.all([
      new Response(this.#child.stdout).text(),
      new Response(this.#child.stderr).text(),
    ]).then(([out, errors]) => out + errors);
  }

  /** Ends it. @returns The lines that it printed. */
  async lines(): Promise<string[]> {
    this.#child.kill(this.end);
    await this.#child.status;
    return (await this.#reading).split("\n").filter(Boolean);
  }
}
