/**
 * Makes our devices what they are to be.
 *
 * A device is compared in every attribute before it is used again. What can be changed in place is changed;
 * where that isn't possible the device is made again, with the same MAC, so that peers needn't learn anything.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { addressRequest, listAddresses } from "../netlink/address.ts";
import { IFF_UP } from "../netlink/constants.ts";
import { changeLink, createLink, deleteLink, findLink, listLinks } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link, LinkChange, LinkSpec } from "../netlink/types.ts";
import { formatIp, sameIp } from "../net/ip.ts";
import { containsIp, type Prefix } from "../net/prefix.ts";
import type { Log, Metrics } from "../observe/types.ts";
import type { OwnLink } from "./actual_entries.ts";
import type { DesiredLink, DesiredVxlan } from "./desired_link.ts";
import { applyTxChecksum, refuseRouterAdvertisements } from "./link_settings.ts";
import { ensureTun } from "./tun_keeper.ts";

/** IANA's port for VXLAN is 4789; the kernel's default is the older one (drivers/net/vxlan, vxlan_port). */
export const KERNEL_VXLAN_PORT = 8472;

/** IFALIASZ (linux/if.h). */
const ALIAS_BYTES = 256;

/** A device of the wanted name is there, and isn't ours to change. */
export class LinkConflictError extends Error {
  override readonly name = "LinkConflictError";
}

/** The error for a device that has one of our names and isn't ours. */
export function strangerError({ name, kind, alias }: Link): LinkConflictError {
  return new LinkConflictError(
    `Cannot use the device ${name}: there is one of kind ${kind ?? "physical"}` +
      `${alias ? ` marked "${alias}"` : ""} that isn't ours. ` +
      `Delete it (ip link del ${name}), or let the network use another device (Backend.VNI of vxlan)`,
  );
}

/** The underlay isn't there now; the device is made when it is back. */
export class UnderlayMissingError extends Error {
  override readonly name = "UnderlayMissingError";
}

/** What the keeper works with. */
export interface LinkKeeperOptions {
  readonly socket: NetlinkSocket;
  readonly networks: readonly Prefix[];
  /** Tells this network from others on the host. */
  readonly networkId: string;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** The alias that marks a device as this network's (`ip link show` prints it). */
export function linkAlias(networkId: string): string {
  const alias = `flanneld ${networkId}`;
  if (new TextEncoder().encode(alias).length < ALIAS_BYTES) return alias;
  return `flanneld sha256:${createHash("sha256").update(networkId).digest("hex")}`;
}

/**
 * Whether a device of one of our names may be taken over: it carries our mark, or none, as the devices of
 * the original do.
 */
export function isOwnLink(link: Link, networkId: string): boolean {
  return link.alias === undefined || link.alias === linkAlias(networkId);
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

/** Deletes the devices that carry this network's mark and are no longer wanted: another VNI, another backend. */
export function removeOtherLinks(
  links: readonly DesiredLink[],
  { socket, networkId, log }: Pick<LinkKeeperOptions, "socket" | "networkId" | "log">,
): number {
  const others = listLinks(socket).filter((link) =>
    link.alias === linkAlias(networkId) && !links.some((desired) => desired.name === link.name)
  );
  for (const { name, index } of others) {
    deleteLink(socket, index);
    log.info(`Device ${name} is no longer needed: deleted`);
  }
  return others.length;
}

function ensureLink(desired: DesiredLink, options: LinkKeeperOptions): { index: number; changed: boolean } {
  const { socket, networkId, log, metrics } = options;
  const existing = findLink(socket, desired.name);
  if (existing && (existing.kind !== desired.kind || !isOwnLink(existing, networkId))) {
    throw strangerError(existing);
  }
  const made = desired.kind === "tun"
    ? ensureTun(desired, existing, options)
    : ensureVxlan(desired, existing, options);
  refuseRouterAdvertisements(desired.name);
  if (made.created) {
    metrics.count("links_created_total", "Devices made, at start and because one was gone", {
      link: desired.name,
    });
  }
  if (desired.kind === "vxlan") applyTxChecksum(desired.name, desired.txChecksum, log);
  const change = differences(made.link, desired, networkId);
  if (change) changeLink(socket, made.link.index, change);
  const addressed = ensureAddresses(made.link.index, desired, options);
  const changed = made.created || change !== undefined || addressed;
  if (changed) log.info(`Device ${desired.name} ${made.created ? "made" : "put right"}`, { ...change });
  return { index: made.link.index, changed };
}

/** What of a device can be put right in place; undefined when nothing differs. */
function differences(link: Link, desired: DesiredLink, networkId: string): LinkChange | undefined {
  const change: { -readonly [key in keyof LinkChange]: LinkChange[key] } = {};
  if (desired.kind === "vxlan" && link.mac !== desired.mac) change.mac = desired.mac;
  if (link.mtu !== desired.mtu) change.mtu = desired.mtu;
  if (link.alias === undefined) change.alias = linkAlias(networkId);
  if (!(link.flags & IFF_UP)) change.up = true;
  return Object.keys(change).length > 0 ? change : undefined;
}

function ensureVxlan(
  desired: DesiredVxlan,
  existing: Link | undefined,
  { socket, log }: LinkKeeperOptions,
): { link: Link; created: boolean } {
  const underlay = findLink(socket, desired.underlay);
  if (!underlay) throw new UnderlayMissingError(`The interface ${desired.underlay} is not there`);
  const difference = existing && vxlanDifference(existing, desired, underlay.index);
  if (existing && !difference) return { link: existing, created: false };
  if (existing) {
    log.warn(`Device ${desired.name} is made again`, { because: difference });
    deleteLink(socket, existing.index);
  }
  const { vni, local, learning, gbp } = desired;
  const spec: LinkSpec = {
    name: desired.name,
    kind: "vxlan",
    mtu: desired.mtu,
    mac: desired.mac,
    noLinkLocal: true,
    vxlan: { vni, local, linkIndex: underlay.index, port: desired.port || KERNEL_VXLAN_PORT, learning, gbp },
  };
  return { link: createLink(socket, spec), created: true };
}

/** The first attribute that can't be changed in place and differs, as text; undefined when none does. */
function vxlanDifference(link: Link, desired: DesiredVxlan, underlayIndex: number): string | undefined {
  const actual = link.vxlan;
  if (!actual) return "it has no VXLAN attributes";
  const port = desired.port || KERNEL_VXLAN_PORT;
  if (actual.vni !== desired.vni) return `VNI ${actual.vni}, not ${desired.vni}`;
  if (actual.port !== port) return `port ${actual.port}, not ${port}`;
  if (!sameIp(actual.local, desired.local)) {
    return `local ${actual.local ? formatIp(actual.local) : "none"}, not ${formatIp(desired.local)}`;
  }
  if (actual.linkIndex !== underlayIndex) return `underlay ${actual.linkIndex}, not ${underlayIndex}`;
  if (actual.learning !== desired.learning) return `learning ${actual.learning}`;
  if (actual.gbp !== desired.gbp) return `GBP ${actual.gbp}`;
  return undefined;
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

/** Bytes that VXLAN puts around a packet: outer IP header, UDP (8), VXLAN (8), inner Ethernet (14); RFC 7348. */
export function vxlanOverhead(underlay: DesiredVxlan["local"]): number {
  return underlay.family.headerBytes + 8 + 8 + 14;
}
