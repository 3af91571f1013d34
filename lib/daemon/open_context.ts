/**
 * What a backend may look at: one place puts it together for the daemon, `doctor` and `cleanup`.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { ResolvedNetwork } from "../backend/network.ts";
import type { OpenContext } from "../backend/types.ts";
import type { ExternalInterface } from "../external/types.ts";
import type { LeaseAttributes } from "../leases/types.ts";
import { listLinks } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Log, Metrics } from "../observe/types.ts";
import type { Options } from "../options/table.ts";
import { networkIdOf } from "./store.ts";

const MACHINE_ID = "/etc/machine-id";

/** What the options and the config don't say. */
export interface ContextParts {
  readonly socket: NetlinkSocket;
  readonly external: ExternalInterface;
  /** What this host's lease said when an earlier run last wrote it. */
  readonly ownLease?: LeaseAttributes | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Ends the opening and what it waits for. */
  readonly signal: AbortSignal;
}

/** The context for opening the network's backend on this host, as the host is now. */
export async function openContext(
  options: Options,
  { config }: ResolvedNetwork,
  { socket, external, ownLease, log, metrics, signal }: ContextParts,
): Promise<OpenContext> {
  return {
    config,
    external,
    ...(ownLease ? { ownLease } : {}),
    networkId: networkIdOf(options),
    links: listLinks(socket),
    machineId: await readMachineId(log),
    options: options.backend,
    log,
    metrics,
    signal,
  };
}

/** What is stable about the host; empty where systemd never was. */
async function readMachineId(log: Log): Promise<string> {
  try {
    return (await Deno.readTextFile(MACHINE_ID)).trim();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      log.warn(`Cannot read ${MACHINE_ID}, continuing without: ${messageOf(error)}`);
    }
    return "";
  }
}
