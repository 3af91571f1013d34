/**
 * A program that is ended together with what it started itself.
 *
 * A child alone that is killed leaves its own children behind, which hold its output open.
 *
 * @module
 */
import { libc } from "./libc.ts";

/** SIGKILL of signal(7), the same on x86_64 and aarch64. */
const SIGKILL = 9;

/** Those that run now. */
const groups = new Set<ProcessGroup>();

/** A program that leads a process group (and a session: the terminal's signals don't reach it). */
export class ProcessGroup implements Disposable {
  readonly child: Deno.ChildProcess;

  /** Starts it. @throws As Deno.Command.spawn. */
  constructor(program: string, options: Deno.CommandOptions) {
    this.child = new Deno.Command(program, { ...options, detached: true }).spawn();
    groups.add(this);
  }

  /** Ends the program and all that it started. */
  kill(): void {
    // Deno.kill wants the permission to run everything. The group may be gone by now (ESRCH): that is what is wanted.
    if (groups.has(this)) libc().kill(-this.child.pid, SIGKILL);
  }

  /** To be called when its output has ended: its process id may be another's from now on. */
  [Symbol.dispose](): void {
    groups.delete(this);
  }
}

/** Ends all groups that run now: for the end of this process. */
export function killGroups(): void {
  for (const group of groups) group.kill();
}
