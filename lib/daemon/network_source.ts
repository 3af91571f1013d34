/**
 * Where commands learn of the network: from a running daemon, or else from the store.
 *
 * @module
 */
import { resolveNetwork } from "../backend/network.ts";
import type { BackendRegistry } from "../backend/registry.ts";
import { readSubnetFile } from "../config/subnet_file.ts";
import type { FamilyConfig } from "../config/types.ts";
import type { ExternalInterface } from "../external/types.ts";
import type { SubnetManager } from "../leases/contract.ts";
import { familiesOf, type Family, type PerFamily } from "../net/family.ts";
import { formatIp } from "../net/ip.ts";
import { type Prefix, samePrefix } from "../net/prefix.ts";
import type { Tunnel } from "../net/tunnel.ts";
import { NetlinkSocket } from "../netlink/socket.ts";
import { openLog } from "../observe/log.ts";
import { noMetrics, noProblems, silentLog } from "../observe/types.ts";
import type { Options } from "../options/table.ts";
import type { ProbeTarget } from "../probe/target.ts";
import { type HostNames, readHostNames } from "../status/host_names.ts";
import { chooseExternal } from "./external.ts";
import { decodeView, type NetworkView } from "./network_view.ts";
import { openContext } from "./open_context.ts";
import { isNoDaemon, readLocal } from "./status_client.ts";
import { statusSocketPath } from "./status_server.ts";
import { describeWrite, openSubnetManager } from "./store.ts";

/** How long the store may take to answer, in milliseconds. */
const STORE_TIMEOUT_MS = 10_000;

/** The network of this host: what a running daemon knows, or else what the store says. @throws {Error} */
export async function readNetwork(options: Options, backends: BackendRegistry): Promise<NetworkView> {
  return withNames(
    await readFromDaemon(options) ?? await viewOfStore(options, backends),
    await readHostNames(),
  );
}

async function readFromDaemon(options: Options): Promise<NetworkView | undefined> {
  try {
    return decodeView(await readLocal(statusSocketPath(options), "/peers"));
  } catch (error) {
    if (isNoDaemon(error)) return undefined;
    throw error;
  }
}

/** Hosts that the store doesn't name have the names of /etc/hosts. */
function withNames(view: NetworkView, names: HostNames): NetworkView {
  const nameOf = ({ lease: { attributes: { publicIps } } }: ProbeTarget) =>
    familiesOf(publicIps).map((family) => names.get(formatIp(publicIps[family.name]!)))
      .find((name) => name !== undefined);
  const targets = view.targets.map((target): ProbeTarget => {
    const name = target.name ?? nameOf(target);
    return name === undefined ? target : { ...target, name };
  });
  return { ...view, targets };
}

async function viewOfStore(options: Options, backends: BackendRegistry): Promise<NetworkView> {
  const log = openLog({ format: "text", verbosity: 0 });
  await using manager = await openSubnetManager(options, { log, metrics: noMetrics, problems: noProblems });
  const timeoutMs = STORE_TIMEOUT_MS;
  const stored = await manager.readConfig({ timeoutMs });
  if (!stored) {
    throw new Error(`There is no network config in ${manager.description}. ${describeWrite(options)}`);
  }
  const network = await resolveNetwork(stored.text, backends);
  const { config } = network;
  const subnets = await ownSubnets(options, config.families.map(({ family }) => family));
  using socket = NetlinkSocket.open();
  const { external } = chooseExternal(socket, options, config.families.map(({ family }) => family));
  const tunnel = await tunnelOf(options, network, { socket, external });
  return {
    source: manager.description,
    type: config.backend.type,
    networks: config.families.map(({ network }) => network),
    subnets,
    external: external.name,
    ...tunnel ? { tunnel } : {},
    targets: await storedTargets(manager, config.families, subnets),
  };
}

/** What the subnet file says. @throws {Error} If there is none: this host isn't in the network. */
async function ownSubnets(options: Options, families: readonly Family[]): Promise<PerFamily<Prefix>> {
  const file = await readSubnetFile(options.subnetFile);
  const subnets = file?.subnets ?? {};
  if (families.some(({ name }) => subnets[name])) return subnets;
  throw new Error(
    `No flanneld is running, and ${options.subnetFile} names no subnet of this host: ` +
      "it isn't in the network. Start flanneld, or name the file with -subnet-file",
  );
}

/** A backend says what its outer packets look like once it is opened; those of clouds have none, and would ask. */
async function tunnelOf(
  options: Options,
  network: Awaited<ReturnType<typeof resolveNetwork>>,
  parts: { readonly socket: NetlinkSocket; readonly external: ExternalInterface },
): Promise<Tunnel | undefined> {
  if (network.backend.cleanup) return undefined;
  const context = await openContext(options, network, {
    ...parts,
    ...{ log: silentLog, metrics: noMetrics, signal: AbortSignal.timeout(STORE_TIMEOUT_MS) },
  });
  return (await network.backend.open(network.options, context)).tunnel;
}

/** The other hosts by their leases, in a cluster by its Nodes. */
async function storedTargets(
  manager: Pick<SubnetManager, "inspect">,
  families: readonly FamilyConfig[],
  own: PerFamily<Prefix>,
): Promise<ProbeTarget[]> {
  const { leases } = await manager.inspect(families, { timeoutMs: STORE_TIMEOUT_MS, timed: () => [] });
  return leases.flatMap(({ key, host: name, subnets, attributes }) => {
    if (!subnets || !attributes) return [];
    const isOwn = familiesOf(subnets).some(({ name }) => samePrefix(subnets[name], own[name]));
    return isOwn ? [] : [{ key, lease: { subnets, attributes }, ...name === undefined ? {} : { name } }];
  });
}
