/**
 * `leases reserve`, `leases unreserve`, `leases revoke`: what an operator does to other hosts' leases.
 *
 * @module
 */
import { networkLeases } from "../daemon/network_leases.ts";
import { openStore } from "../daemon/store.ts";
import { type InspectLeasesOptions, inspectRecords } from "../leases/inspect.ts";
import { type Plan, planReserve, planRevoke, planUnreserve, type Pool } from "../leases/operator.ts";
import type { CallOptions, LeaseStore } from "../leases/types.ts";
import type { PerFamily } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import { printable } from "../observe/printable.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";
import { UsageError } from "../options/usage_error.ts";
import { confirmed } from "./confirm.ts";
import { parseSubnets } from "./lease_search.ts";

/** Longest wait for a store that doesn't answer, in milliseconds: a person is waiting. */
const STORE_TIMEOUT_MS = 10_000;

/** What is printed when it is done. */
const DONE = {
  "leases reserve": "Reserved.",
  "leases unreserve": "Unreserved.",
  "leases revoke": "Revoked.",
};

/** Exit status 0 if it is as asked for, 1 if not. */
export async function leasesWriteCommand(invocation: Invocation): Promise<number> {
  const { command, argument, options, own } = invocation;
  refuseCluster(invocation);
  parseSubnets(argument);
  await using store = await openStore(options);
  const source = {
    description: store.description,
    readConfig: (call?: CallOptions) => store.readConfig(call),
    inspect: (_: unknown, call?: InspectLeasesOptions) => inspectRecords(store, call),
  };
  // What is written doesn't depend on times.
  const { config, leases } = await networkLeases(source, options, () => []);
  const plan = planOf(invocation, { config: config.families, leases });
  if (!plan.act) {
    for (const sentence of plan.says) console.log(printable(sentence));
    return 0;
  }
  const yes = own.get(COMMANDS["leases reserve"].options.yes);
  if (!confirmed(command, plan.says, yes)) return 1;
  return await carryOut(plan.act, store, invocation);
}

function planOf({ command, argument, options, own }: Invocation, pool: Pool): Plan {
  const subnets = parseSubnets(argument);
  if (command === "leases unreserve") return planUnreserve(pool, subnets, options.subnetLeaseTtl);
  if (command === "leases revoke") return planRevoke(pool, subnets);
  return planReserve(pool, subnets, holderOf(own.get(COMMANDS["leases reserve"].options.for)));
}

function holderOf(ips: readonly Ip[]): PerFamily<Ip> {
  const holder: { ipv4?: Ip; ipv6?: Ip } = {};
  for (const ip of ips) {
    const { name, label } = ip.family;
    if (holder[name]) throw new UsageError(`-for: one ${label} address at most`, "leases reserve");
    holder[name] = ip;
  }
  return holder;
}

async function carryOut(
  act: NonNullable<Plan["act"]>,
  store: LeaseStore,
  { command, argument }: Invocation,
): Promise<number> {
  if (await act(store, { timeoutMs: STORE_TIMEOUT_MS })) {
    console.log(DONE[command as keyof typeof DONE]);
    return 0;
  }
  throw new Error(
    `${argument} has changed since it was read, nothing done: look at it again with flanneld leases show ${argument}`,
  );
}

/** @throws {UsageError} In a cluster. */
export function refuseCluster({ command, options }: Invocation): void {
  if (!options.kubeSubnetMgr) return;
  throw new UsageError(
    `${command}: in a cluster the subnets are the Nodes' podCIDRs, which its controller manager assigns; ` +
      "deleting the Node frees its subnet",
    command,
  );
}
