/**
 * The commands. Each is loaded when it is asked for.
 *
 * @module
 */
import type { Invocation } from "./parse.ts";

/** Carries out what was asked for. @returns The exit status. */
export async function runCommand(invocation: Invocation): Promise<number> {
  switch (invocation.command) {
    case "daemon":
      return await (await import("./daemon_command.ts")).daemonCommand(invocation);
    case "config set":
    case "config get":
    case "config check":
      return await (await import("./config_command.ts")).configCommand(invocation);
    case "cleanup":
      return await (await import("./cleanup_command.ts")).cleanupCommand(invocation);
    case "status":
      return await (await import("./status_command.ts")).statusCommand(invocation);
    case "doctor":
      return await (await import("./doctor_command.ts")).doctorCommand(invocation);
    case "version":
      console.log((await import("../version.ts")).VERSION_TEXT);
      return 0;
    case "completion":
      console.log((await import("./completion.ts")).completionScript(invocation.argument));
      return 0;
    case "help":
      console.log((await import("./help.ts")).helpText());
      return 0;
  }
}
