/**
 * `leases release`: gives this host's own lease back.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import { resolveNetwork } from "../backend/network.ts";
import { readSubnetFile } from "../config/subnet_file.ts";
import { leavingHost } from "../daemon/leaving_host.ts";
import { leaseFilePath, readLeaseFile } from "../daemon/lease_file.ts";
import { DaemonLock, LockedError } from "../daemon/lock.ts";
import { describeWrite, openSubnetManager } from "../daemon/store.ts";
import { openLog } from "../observe/log.ts";
import { noMetrics, noProblems } from "../observe/types.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";
import type { Options } from "../options/table.ts";
import { confirmed } from "./confirm.ts";
import { refuseCluster } from "./leases_write_command.ts";
import { dirname } from "node:path";

/** Longest wait for a store that doesn't answer, in milliseconds: a person is waiting. */
const STORE_TIMEOUT_MS = 10_000;

/** Exit status 0 also where this host has no lease; 1 where one is left. */
export async function leasesReleaseCommand(
  invocation: Invocation,
  backends: BackendRegistry,
): Promise<number> {
  const { command, options, own } = invocation;
  refuseCluster(invocation);
  using _lock = await lockOut(options);
  const log = openLog({ format: "text", verbosity: 0 });
  await using store = await openSubnetManager(options, { log, metrics: noMetrics, problems: noProblems });
  const stored = await store.readConfig({ timeoutMs: STORE_TIMEOUT_MS });
  if (!stored) {
    throw new Error(`There is no network config in ${store.description}. ${describeWrite(options)}`);
  }
  const host = await leavingHost(options, await resolveNetwork(stored.text, backends), {
    file: await readSubnetFile(options.subnetFile).catch(() => undefined),
    kept: await readLeaseFile(leaseFilePath(options), log),
    log,
  });
  const doubtful: string[] = [];
  const leases = await store.leasesOf(host, ({ key }) => doubtful.push(key), { timeoutMs: STORE_TIMEOUT_MS });
  for (const key of doubtful) {
    console.log(`${key} is kept: it has this host's public IP, and nothing proves that it is this host's.`);
  }
  if (leases.length === 0) {
    console.log("This host has no lease.");
    return doubtful.length === 0 ? 0 : 1;
  }
  const says = [
    ...leases.map(({ key }) =>
      `The lease ${key} of this host is deleted; the other hosts drop their routes to it.`
    ),
    "Devices, routes and rules of this host stay: flanneld cleanup removes them, and the lease with them.",
  ];
  if (!confirmed(command, says, own.get(COMMANDS["leases release"].options.yes))) return 1;
  let kept = 0;
  for (const lease of leases) {
    if (await lease.release({ timeoutMs: STORE_TIMEOUT_MS })) console.log(`Released ${lease.key}.`);
    else {
      kept++;
      console.log(
        `${lease.key} is kept: it is a reservation (flanneld leases unreserve), or has just changed.`,
      );
    }
  }
  return kept === 0 ? 0 : 1;
}

/** Keeps daemons from starting meanwhile. @throws {Error} If one is running. */
async function lockOut(options: Options): Promise<DaemonLock | undefined> {
  if (!await Deno.stat(dirname(options.subnetFile)).catch(() => undefined)) return undefined;
  try {
    return await DaemonLock.take(options, "flanneld leases release", new AbortController().signal);
  } catch (error) {
    if (!(error instanceof LockedError)) throw error;
    throw new Error(
      `${error.holder} is running and would lose its lease: stop it first (systemctl stop flanneld)`,
    );
  }
}
