/**
 * Which VXLAN device is ours, what it is called, and which MAC it has.
 *
 * @module
 */
import type { Json, JsonObject } from "../lib/config/types.ts";
import { type Family, IPV4 } from "../lib/net/family.ts";
import { localMac, type Mac, parseMac } from "../lib/net/mac.ts";
import { sha256 } from "../lib/sha256.ts";
import {
  findByMark,
  isOwnLink,
  linkAlias,
  LinkConflictError,
  strangerError,
  vxlanFamily,
} from "../lib/kernel/own_links.ts";
import { KERNEL_VXLAN_PORT } from "../lib/kernel/vxlan_keeper.ts";
import type { OpenContext } from "../lib/backend/types.ts";

/** One family's VXLAN tunnel end point on this host. */
export interface Vtep {
  /** Device name. */
  readonly name: string;
  readonly mac: Mac;
}

/** IFNAMSIZ less the closing NUL (linux/if.h). */
const MAX_NAME = 15;

/**
 * Finds the device to use: ours if there is one, else a free name. Its MAC is one that peers know, so that none of
 * them has to learn another: the device's, else that of the own lease, else one that this host would come to again.
 *
 * @throws {LinkConflictError} If another device has the VNI and port, or the name.
 */
export function findVtep(
  family: Family,
  options: { readonly vni: number; readonly port: number },
  context: Pick<OpenContext, "links" | "networkId" | "machineId" | "external" | "ownLease">,
): Vtep {
  const { links, networkId, ownLease } = context;
  const name = vtepName(family, options, context);
  refuseConflicts(name, family, options, context);
  const named = links.find((link) => link.name === name && isOwnLink(link, networkId));
  const existing = named ?? findByMark(links, { kind: "vxlan", vni: options.vni, family }, networkId);
  const published = ownLease?.backendType === "vxlan"
    ? vtepMac(ownLease.backendData[family.name])
    : undefined;
  return { name, mac: existing?.mac ?? published ?? stableMac(family, options.vni, context) };
}

/**
 * `flannel.VNI` (`flannel-v6.VNI`), as the original names it. Two networks on one host may have the same VNI
 * on different ports: the one that comes second has its port in the name, and finds its device by its mark.
 */
function vtepName(
  family: Family,
  { vni, port }: { readonly vni: number; readonly port: number },
  { links, networkId }: Pick<OpenContext, "links" | "networkId">,
): string {
  const candidates = family === IPV4
    ? [`flannel.${vni}`, `fl.${vni}`, `fl.${vni}.${port}`]
    : [`flannel-v6.${vni}`, `fl6.${vni}`, `fl6.${vni}.${port}`];
  const names = candidates.filter((name) => name.length <= MAX_NAME);
  const marked = names.find((name) =>
    links.some((link) => link.name === name && link.alias === linkAlias(networkId))
  );
  const usual = names[0]!;
  if (marked) return marked;
  const holder = links.find((link) => link.name === usual);
  const isAnotherNetworks = holder !== undefined && holder.vxlan !== undefined &&
    !isOwnLink(holder, networkId) &&
    holder.vxlan.port !== (port || KERNEL_VXLAN_PORT);
  return isAnotherNetworks ? names.at(-1)! : usual;
}

/** Looks for devices that the kernel would not let ours stand beside, and for strangers under our name. */
function refuseConflicts(
  name: string,
  family: Family,
  { vni, port }: { readonly vni: number; readonly port: number },
  { links, networkId }: Pick<OpenContext, "links" | "networkId">,
): void {
  const wantedPort = port || KERNEL_VXLAN_PORT;
  for (const link of links) {
    if (link.name === name) {
      if (link.kind === "vxlan" && isOwnLink(link, networkId)) continue;
      throw strangerError(link);
    }
    // Ours under another name is renamed back.
    const isRenamed = link.alias === linkAlias(networkId);
    if (
      link.vxlan?.vni === vni && link.vxlan.port === wantedPort && vxlanFamily(link) === family && !isRenamed
    ) {
      throw new LinkConflictError(
        `The VXLAN device ${link.name} already has VNI ${vni} on port ${wantedPort}: ` +
          `set another Backend.VNI or Backend.Port, or delete it (ip link del ${link.name})`,
      );
    }
  }
}

/** A MAC that the same host comes to again for the same network, and no other host does. */
function stableMac(
  family: Family,
  vni: number,
  { links, networkId, machineId, external }: Pick<
    OpenContext,
    "links" | "networkId" | "machineId" | "external"
  >,
): Mac {
  // Cloned machines share a machine-id, and network namespaces do: the interface's own MAC distinguishes them.
  const hardware = links.find((link) => link.index === external.index)?.mac ?? "";
  const identity = [machineId, external.name, hardware, vni, networkId, family.name].join("\n");
  return localMac(sha256(identity));
}

/** The MAC in a lease's BackendData; undefined for anything else than an object with a unicast MAC. */
export function vtepMac(data: Json | undefined): Mac | undefined {
  if (data === null || typeof data !== "object" || Array.isArray(data)) return undefined;
  const text = (data as JsonObject)["VtepMAC"];
  if (typeof text !== "string") return undefined;
  try {
    const mac = parseMac(text);
    const isGroup = parseInt(mac.slice(0, 2), 16) & 1;
    return isGroup || mac === "00:00:00:00:00:00" ? undefined : mac;
  } catch {
    return undefined;
  }
}
