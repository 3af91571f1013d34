/**
 * This host as the store may know it, for finding its leases when it leaves.
 *
 * @module
 */
import type { ResolvedNetwork } from "../backend/network.ts";
import type { OpenContext } from "../backend/types.ts";
import type { ReadSubnetFile } from "../config/subnet_file.ts";
import type { ExternalInterface } from "../external/types.ts";
import type { LeavingHost } from "../leases/contract.ts";
import { listAddresses } from "../netlink/address.ts";
import { NetlinkSocket } from "../netlink/socket.ts";
import type { PartLog } from "../observe/log.ts";
import { noMetrics } from "../observe/types.ts";
import type { Options } from "../options/table.ts";
import { publishedBy } from "./cleanup_lease.ts";
import { chooseExternal } from "./external.ts";
import { attributesOf, evidenceOf, type KeptLease } from "./lease_file.ts";
import { openContext } from "./open_context.ts";

/** What earlier runs left. */
export interface LeftFiles {
  readonly file: ReadSubnetFile | undefined;
  readonly kept: KeptLease | undefined;
}

/** A backend's context, for a host on which no daemon runs. */
export async function contextOf(
  socket: NetlinkSocket,
  options: Options,
  network: ResolvedNetwork,
  { kept, log }: { readonly kept: KeptLease | undefined; readonly log: PartLog },
): Promise<{ external: ExternalInterface; context: OpenContext }> {
  const families = network.config.families.map(({ family }) => family);
  const { external } = chooseExternal(socket, options, families);
  const context = await openContext(options, network, {
    ...{ socket, external, ownLease: attributesOf(kept), metrics: noMetrics },
    log: log.child(network.backend.type),
    signal: AbortSignal.timeout(60_000),
  });
  return { external, context };
}

/** This host, while the devices that prove its leases are still there. */
export async function leavingHost(
  options: Options,
  network: ResolvedNetwork,
  { file, kept, log }: LeftFiles & { readonly log: PartLog },
): Promise<LeavingHost> {
  using socket = NetlinkSocket.open();
  const { external, context } = await contextOf(socket, options, network, { kept, log });
  const { publicIp, publicIpv6 } = options;
  return {
    attributes: await publishedBy(network, context, external, log),
    evidence: { ...evidenceOf(kept, context.links), ...file ? { subnets: file.subnets } : {} },
    addresses: external.addresses,
    allAddresses: [...listAddresses(socket).map(({ ip }) => ip), publicIp, publicIpv6].filter((ip) =>
      ip !== undefined
    ),
  };
}
