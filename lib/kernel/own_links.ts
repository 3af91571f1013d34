/**
 * Which devices are ours: by our mark, whatever somebody has named them.
 *
 * @module
 */
import type { Link } from "../netlink/types.ts";
import { type Family, IPV4 } from "../net/family.ts";
import { sha256Hex } from "../sha256.ts";
import type { DesiredLink } from "./desired_link.ts";

/** IFALIASZ (linux/if.h). */
const ALIAS_BYTES = 256;

/** A device of the wanted name is there, and isn't ours to change. */
export class LinkConflictError extends Error {
  override readonly name = "LinkConflictError";
}

/** The error for a device that has one of our names and isn't ours. */
export function strangerError({ name, kind, alias }: Link): LinkConflictError {
  const instead = /\.\d+$/.test(name)
    ? ", or have the network use another device (Backend.VNI of vxlan)"
    : "";
  return new LinkConflictError(
    `Cannot use the device ${name}: there is one of kind ${kind ?? "physical"}` +
      `${alias ? ` marked "${alias}"` : ""} that isn't ours. Delete it (ip link del ${name})${instead}`,
  );
}

/** The alias that marks a device as this network's (`ip link show` prints it). */
export function linkAlias(networkId: string): string {
  const alias = `flanneld ${networkId}`;
  if (new TextEncoder().encode(alias).length < ALIAS_BYTES) return alias;
  return `flanneld sha256:${sha256Hex(networkId)}`;
}

/**
 * Whether a device of one of our names may be taken over: it carries our mark, or none, as the devices of
 * the original do.
 */
export function isOwnLink(link: Link, networkId: string): boolean {
  return link.alias === undefined || link.alias === linkAlias(networkId);
}

/** What distinguishes one device of a network from the others with the same mark. */
export type LinkIdentity =
  | { readonly kind: "vxlan"; readonly vni: number; readonly family: Family }
  | { readonly kind: "tun" }
  | { readonly kind: "ipip" }
  /** Devices of this kind differ by their names alone: it is one that has none of these. */
  | { readonly kind: "wireguard"; readonly kernelKind: string; readonly names: readonly string[] };

/** The identity of a desired device. */
export function identityOf(desired: DesiredLink): LinkIdentity {
  switch (desired.kind) {
    case "vxlan":
      return { kind: "vxlan", vni: desired.vni, family: desired.local.family };
    case "wireguard":
      return {
        kind: "wireguard",
        kernelKind: kernelKind(desired),
        names: [desired.name, ...desired.siblings],
      };
    default:
      return { kind: desired.kind };
  }
}

/** What the kernel calls a device of this kind. */
export function kernelKind(desired: DesiredLink): string {
  return desired.kind === "wireguard" && desired.implementation.kind === "userspace" ? "tun" : desired.kind;
}

/** The device with our mark and this identity, whatever its name; undefined if there is none. */
export function findByMark(
  links: readonly Link[],
  identity: LinkIdentity,
  networkId: string,
): Link | undefined {
  return links.find((link) => link.alias === linkAlias(networkId) && hasIdentity(link, identity));
}

function hasIdentity(link: Link, identity: LinkIdentity): boolean {
  if (identity.kind === "wireguard") {
    return link.kind === identity.kernelKind && !identity.names.includes(link.name) &&
      link.tun?.persistent !== true;
  }
  if (link.kind !== identity.kind) return false;
  // A program that carries WireGuard has a TUN that goes with it; the udp backend's stays.
  if (identity.kind === "tun") return link.tun?.persistent !== false;
  return identity.kind !== "vxlan" ||
    (link.vxlan?.vni === identity.vni && vxlanFamily(link) === identity.family);
}

/** The kernel keeps IPv4 and IPv6 VXLAN sockets apart; a device without a local address is IPv4. */
export function vxlanFamily(link: Link): Family {
  return link.vxlan?.local?.family ?? IPV4;
}
