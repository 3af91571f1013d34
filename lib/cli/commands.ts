/**
 * The commands. Each is loaded when it is asked for.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import type { CommandName } from "../options/commands.ts";
import { UsageError } from "../options/usage_error.ts";
import { withBackendOptions } from "../options/table.ts";
import type { Invocation } from "../options/parse.ts";

/** Commands that aren't about this host's daemon: they load nothing to find its options. */
const OF_NO_DAEMON: readonly CommandName[] = [
  ...["daemon", "config check", "cni", "cni install", "version", "completion", "help"] as const,
];

/** Carries out what was asked for. @returns The exit status. */
export async function runCommand(asked: Invocation, backends: BackendRegistry): Promise<number> {
  if (OF_NO_DAEMON.includes(asked.command)) return await dispatch(asked, backends);
  const { withServiceOptions } = await import("./service_options.ts");
  return await dispatch(withServiceOptions(asked, Deno.env.toObject(), backends.options), backends);
}

async function dispatch(invocation: Invocation, backends: BackendRegistry): Promise<number> {
  switch (invocation.command) {
    case "daemon":
      return await (await import("./daemon_command.ts")).daemonCommand(invocation, backends);
    case "config set":
    case "config get":
    case "config check":
      return await (await import("./config_command.ts")).configCommand(invocation, backends);
    case "cleanup":
      return await (await import("./cleanup_command.ts")).cleanupCommand(invocation, backends);
    case "status":
      return await (await import("./status_command.ts")).statusCommand(invocation);
    case "probe":
      return await (await import("./probe_command.ts")).probeCommand(invocation, backends);
    case "capture":
      return await (await import("./capture_command.ts")).captureCommand(invocation, backends);
    case "leases map":
      return await (await import("./leases_map_command.ts")).leasesMapCommand(invocation);
    case "leases list":
    case "leases show":
    case "leases pool":
      return await (await import("./leases_command.ts")).leasesCommand(invocation);
    case "leases reserve":
    case "leases unreserve":
    case "leases revoke":
      return await (await import("./leases_write_command.ts")).leasesWriteCommand(invocation);
    case "leases release":
      return await (await import("./leases_release_command.ts")).leasesReleaseCommand(invocation, backends);
    case "doctor":
      return await (await import("./doctor_command.ts")).doctorCommand(invocation, backends);
    case "report":
      return await (await import("./report_command.ts")).reportCommand(invocation, backends);
    case "cni":
      throw new UsageError("cni: takes no options; container runtimes call it with variables (CNI_COMMAND)");
    case "cni install":
      return await (await import("./cni_command.ts")).cniInstallCommand(invocation);
    case "wireguard rotate":
      return await (await backends.loadCommand(invocation.command))(invocation.options);
    case "version":
      console.log((await import("../version.ts")).VERSION_TEXT);
      return 0;
    case "completion":
      console.log(
        (await import("./completion.ts")).completionScript(
          invocation.argument,
          withBackendOptions(backends.options),
        ),
      );
      return 0;
    case "help":
      console.log(
        (await import("./help.ts")).helpText(withBackendOptions(backends.options), invocation.argument),
      );
      return 0;
  }
}
