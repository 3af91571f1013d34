/**
 * Makes our devices, and corrects them.
 *
 * A device is compared in every attribute before it is used again. What can be changed in place is changed;
 * where that isn't possible the device is made again, with the same MAC, so that peers needn't learn anything.
 *
 * @module
 */
import { addressRequest, listAddresses } from "../netlink/address.ts";
import { IFF_UP } from "../netlink/constants.ts";
import { NetlinkError } from "../netlink/error.ts";
import { changeLink, deleteLink, findLink, listLinks } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link, LinkChange } from "../netlink/types.ts";
import { sameIp } from "../net/ip.ts";
import { containsIp, type Prefix } from "../net/prefix.ts";
import type { Log, Metrics, ProblemReporter } from "../observe/types.ts";
import type { OwnLink } from "./actual_entries.ts";
import type { DesiredLink } from "./desired_link.ts";
import { refuseLinkLocal } from "./link_local.ts";
import { applyTxChecksum, refuseRouterAdvertisements } from "./link_settings.ts";
import { findByMark, identityOf, isOwnLink, kernelKind, linkAlias, strangerError } from "./own_links.ts";
import { ensureIpip } from "./ipip_keeper.ts";
import { ensureWireguard } from "./wireguard_keeper.ts";
import { ensureTun } from "./tun_keeper.ts";
import { ensureVxlan } from "./vxlan_keeper.ts";
import { LINKS_CREATED } from "./metrics.ts";

/** What the keeper works with. */
export interface LinkKeeperOptions {
  readonly socket: NetlinkSocket;
  readonly networks: readonly Prefix[];
  /** Identifies this network among others on the host. */
  readonly networkId: string;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Gets what of a device's settings can't be set, though the device works without. */
  readonly problems: ProblemReporter;
}

/**
 * Ensures every device.
 *
 * @returns The devices that are there now, and whether one was made or changed.
 * @throws {LinkConflictError} If a name is taken by a device that isn't ours.
 * @throws {UnderlayMissingError} If a device's underlay is gone.
 */
export function ensureLinks(
  links: readonly DesiredLink[],
  options: LinkKeeperOptions,
): { own: OwnLink[]; changed: boolean } {
  const own: OwnLink[] = [];
  let changed = false;
  for (const desired of links) {
    const kept = ensureLink(desired, options);
    own.push({ name: desired.name, index: kept.index, kind: desired.kind });
    if (kept.changed) changed = true;
  }
  return { own, changed };
}

/**
 * Deletes the devices that carry this network's mark and are no longer wanted: another VNI, another backend. One
 * that is wanted and was renamed stays: it is renamed back.
 */
export function removeOtherLinks(
  links: readonly DesiredLink[],
  { socket, networkId, log }: Pick<LinkKeeperOptions, "socket" | "networkId" | "log">,
): number {
  const present = listLinks(socket);
  const wanted = new Set(links.flatMap((desired) => {
    const named = present.find(({ name }) => name === desired.name);
    return named ?? findByMark(present, identityOf(desired), networkId) ?? [];
  }));
  const others = present.filter((link) => link.alias === linkAlias(networkId) && !wanted.has(link));
  for (const { name, index } of others) {
    deleteLink(socket, index);
    log.info(`Device ${name} is no longer needed: deleted`);
  }
  return others.length;
}

function ensureLink(desired: DesiredLink, options: LinkKeeperOptions): { index: number; changed: boolean } {
  const { socket, networkId, log, metrics, problems } = options;
  const existing = withoutFormer(findLink(socket, desired.name), desired, options) ??
    renameBack(desired, options);
  if (existing && (existing.kind !== kernelKind(desired) || !isOwnLink(existing, networkId))) {
    throw strangerError(existing);
  }
  const made = ensureKind(desired, existing, options);
  // A VXLAN device is made without.
  if (desired.kind !== "vxlan" || !made.created) refuseLinkLocal(socket, made.link);
  refuseRouterAdvertisements(desired.name);
  if (made.created) {
    metrics.count(LINKS_CREATED, { link: desired.name });
  }
  if (desired.kind === "vxlan") applyTxChecksum(desired.name, desired.txChecksum, problems);
  const change = differences(made.link, desired, networkId);
  if (change) changeLink(socket, made.link.index, change);
  const addressed = ensureAddresses(made.link.index, desired, options);
  const changed = made.created || change !== undefined || addressed;
  if (changed) log.info(`Device ${desired.name} ${made.created ? "made" : "corrected"}`, { ...change });
  return { index: made.link.index, changed };
}

function ensureKind(
  desired: DesiredLink,
  existing: Link | undefined,
  options: LinkKeeperOptions,
): { link: Link; created: boolean } {
  switch (desired.kind) {
    case "tun":
      return ensureTun(desired, existing, options);
    case "vxlan":
      return ensureVxlan(desired, existing, options);
    case "wireguard":
      return ensureWireguard(desired, existing, options);
    case "ipip":
      return ensureIpip(desired, existing, options);
  }
}

/** Deletes a device of ours that is of another kind now: WireGuard has moved into the kernel, or out of it. */
function withoutFormer(
  existing: Link | undefined,
  desired: DesiredLink,
  { socket, networkId, log }: LinkKeeperOptions,
): Link | undefined {
  if (existing?.alias !== linkAlias(networkId) || existing.kind === kernelKind(desired)) return existing;
  deleteLink(socket, existing.index);
  log.warn(`Device ${desired.name} is made again`, { because: `kind ${existing.kind}` });
  return undefined;
}

/** Gives our device its name again if somebody renamed it. */
function renameBack(desired: DesiredLink, { socket, networkId, log }: LinkKeeperOptions): Link | undefined {
  const { name } = desired;
  const renamed = findByMark(listLinks(socket), identityOf(desired), networkId);
  if (!renamed) return undefined;
  try {
    changeLink(socket, renamed.index, { name });
  } catch (error) {
    if (!(error instanceof NetlinkError && error.code === "EBUSY")) throw error;
    // An older kernel: the link has to be down, and comes up with the rest of what is compared.
    changeLink(socket, renamed.index, { up: false });
    changeLink(socket, renamed.index, { name });
  }
  log.warn(`Device ${renamed.name} is renamed back to ${name}`);
  return findLink(socket, name);
}

/** What of a device can be changed in place; undefined when nothing differs. */
function differences(link: Link, desired: DesiredLink, networkId: string): LinkChange | undefined {
  const change: { -readonly [key in keyof LinkChange]: LinkChange[key] } = {};
  if (desired.kind === "vxlan" && link.mac !== desired.mac) change.mac = desired.mac;
  if (link.mtu !== desired.mtu) change.mtu = desired.mtu;
  if (link.alias === undefined) change.alias = linkAlias(networkId);
  if (!(link.flags & IFF_UP)) change.up = true;
  return Object.keys(change).length > 0 ? change : undefined;
}

/** Adds our addresses where they are missing, and takes away host addresses of an earlier lease. */
function ensureAddresses(
  linkIndex: number,
  desired: DesiredLink,
  { socket, networks }: LinkKeeperOptions,
): boolean {
  const present = listAddresses(socket, { linkIndex });
  const missing = desired.addresses.filter(({ ip, prefixLength }) =>
    !present.some((address) => sameIp(address.ip, ip) && address.prefixLength === prefixLength)
  );
  const outdated = present.filter((address) =>
    address.prefixLength === address.ip.family.bits &&
    networks.some((network) => containsIp(network, address.ip)) &&
    !desired.addresses.some(({ ip }) => sameIp(address.ip, ip))
  );
  for (const { ip, prefixLength } of missing) {
    socket.execute(addressRequest("replace", { linkIndex, ip, prefixLength }));
  }
  for (const address of outdated) socket.execute(addressRequest("delete", address));
  return missing.length + outdated.length > 0;
}
