/**
 * What an earlier run left of another network.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { removeFormerRoutes } from "../kernel/remove.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Prefix } from "../net/prefix.ts";
import type { PartLog } from "../observe/log.ts";
import type { ProblemReporter } from "../observe/types.ts";
import type { StoredNetwork } from "./config_feed.ts";

/** What is needed to find it. */
export interface FormerNetworkParts {
  readonly socket: NetlinkSocket;
  /** Where an earlier run had its routes, by its subnet file. */
  readonly formerNetworks: readonly Prefix[];
  readonly network: StoredNetwork;
  readonly log: PartLog;
  readonly problems: ProblemReporter;
}

/** Removes our routes to networks that are not today's. That it can't be done keeps nothing else from working. */
export function removeFormerNetwork(
  { socket, formerNetworks, network, log, problems }: FormerNetworkParts,
): void {
  const networks = network.config.families.map((family) => family.network);
  try {
    for (const removed of removeFormerRoutes(socket, { former: formerNetworks, networks })) {
      log.child("kernel").info(`Removed the ${removed} of the former network`);
    }
  } catch (error) {
    problems.set("former network", `cannot remove its routes: ${messageOf(error)}`);
  }
}
