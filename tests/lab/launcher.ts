/**
 * Self-extracting executables with a shell script in place of Deno: small, and made in milliseconds.
 *
 * @module
 */
import { join } from "node:path/posix";
import { selfExtracting } from "../../scripts/build/self_extracting.ts";

/** How a program ended, and what it said. */
export interface Ended {
  readonly code: number;
  readonly signal: Deno.Signal | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder with an executable and whatever a test puts beside it. */
export class LauncherLab implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  static async create(): Promise<LauncherLab> {
    return new LauncherLab(await Deno.makeTempDir({ prefix: "flanneld-launcher-" }));
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  /**
   * Makes an executable.
   *
   * @param script what runs in place of Deno: a shell script, which finds the program's arguments after the path of
   * main.js; it is also called with `--version` while it is unpacked
   */
  async build(
    name: string,
    script: string,
    version = "1.0.0",
    arch: string = Deno.build.arch,
  ): Promise<string> {
    const stage = this.path(`stage-${name}`);
    await Deno.mkdir(join(stage, "app"), { recursive: true });
    await Deno.writeTextFile(join(stage, "app/main.js"), "");
    const runtime = this.path(`runtime-${name}`);
    const shift = `while [ $# -gt 0 ]; do case $1 in */app/main.js) shift; break ;; *) shift ;; esac; done`;
    await Deno.writeTextFile(
      runtime,
      `#!/bin/sh\n[ "$1" = --version ] && exit\nprogram=$0\n${shift}\n${script}\n`,
    );
    const out = this.path(name);
    await selfExtracting({ stage, runtime, out, version, arch });
    await Deno.remove(stage, { recursive: true });
    return out;
  }

  /** Starts a program with a cache folder of this lab. */
  spawn(command: readonly string[], env: Readonly<Record<string, string>> = {}): Deno.ChildProcess {
    const [program = "", ...args] = command;
    return new Deno.Command(program, {
      args,
      clearEnv: true,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", FLANNELD_CACHE_DIR: this.path("cache"), ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  /** Runs a program to its end. */
  async run(
    command: readonly string[],
    env: Readonly<Record<string, string>> = {},
    stdin = "",
  ): Promise<Ended> {
    const child = this.spawn(command, env);
    const writer = child.stdin.getWriter();
    // A program that ends without reading closes the pipe.
    const written = writer.write(new TextEncoder().encode(stdin)).then(() => writer.close()).catch(() => {});
    return await ended(child, written);
  }

  /** The names in a folder of this lab, sorted. */
  async list(...names: string[]): Promise<string[]> {
    const found: string[] = [];
    for await (const { name } of Deno.readDir(this.path(...names))) found.push(name);
    return found.sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Waits for the end of a process whose output is piped. */
export async function ended(child: Deno.ChildProcess, written?: Promise<void>): Promise<Ended> {
  const [{ code, signal }, stdout, stderr] = await Promise.all([
    child.status,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    written,
  ]);
  return { code, signal, stdout, stderr };
}
