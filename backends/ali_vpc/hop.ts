/**
 * What a route to this host leads to: the instance, or the one of its interfaces that carries the host's address.
 *
 * @module
 */
import type { ExternalInterface } from "../../lib/external/types.ts";
import { familiesOf } from "../../lib/net/family.ts";
import { formatIp, sameIp, tryParseIp } from "../../lib/net/ip.ts";
import { CloudError } from "../cloud/errors.ts";
import type { AliMetadata } from "./metadata.ts";

/** A next hop, as the API names it, and which ids lead to this host. */
export interface AliHop {
  readonly type: "Instance" | "NetworkInterface";
  readonly id: string;
  /** Ids that lead to the same interface. */
  readonly ids: readonly string[];
  /** Ids of the instance and of all its interfaces. */
  readonly ownIds: readonly string[];
  /** The vSwitch that the interface is in. */
  readonly vswitch: string;
}

/** A network interface as the metadata server describes it. */
interface Card {
  readonly id: string;
  readonly primary: boolean;
  readonly addresses: readonly string[];
  readonly vswitch: string | undefined;
}

/**
 * Finds the next hop. A route to an instance leads to its primary interface, so a host whose address is on a
 * secondary one needs a route to that interface.
 *
 * @throws {CloudError} Of kind `config` if no interface has an address of the host's external one.
 */
export async function findHop(
  metadata: AliMetadata,
  instance: string,
  external: ExternalInterface,
  signal: AbortSignal,
): Promise<AliHop> {
  const cards = await readCards(metadata, signal);
  const card = findCard(cards, external, instance);
  const vswitch = card?.vswitch ?? await metadata.require("vswitch-id", signal);
  const ownIds = [instance, ...cards.map(({ id }) => id)];
  if (card && !card.primary) {
    return { type: "NetworkInterface", id: card.id, ids: [card.id], ownIds, vswitch };
  }
  return { type: "Instance", id: instance, ids: card ? [instance, card.id] : [instance], ownIds, vswitch };
}

function findCard(
  cards: readonly Card[],
  external: ExternalInterface,
  instance: string,
): Card | undefined {
  const ours = familiesOf(external.addresses).map((family) => external.addresses[family.name]!);
  const found = cards.find(({ addresses }) =>
    addresses.some((text) => ours.some((ip) => sameIp(ip, tryParseIp(text))))
  );
  // A server that doesn't list addresses, or interfaces, leaves the primary one as the likely one.
  if (found || !cards.some(({ addresses }) => addresses.length > 0)) return found;
  const has = cards.map(({ id, addresses }) => `${id} ${addresses.join(" ")}`).join(", ");
  throw new CloudError(
    "config",
    `No network interface of ${instance} has an address of ${external.name} (${
      ours.map(formatIp).join(", ")
    }); it has ${has}: choose the right interface with -iface`,
  );
}

async function readCards(metadata: AliMetadata, signal: AbortSignal): Promise<Card[]> {
  const root = "network/interfaces/macs/";
  const primary = await metadata.read("mac", signal);
  const cards: Card[] = [];
  for (const entry of words(await metadata.read(root, signal))) {
    const mac = entry.replace(/\/$/, "");
    const read = (name: string) => metadata.read(`${root}${mac}/${name}`, signal);
    const id = await read("network-interface-id");
    if (id === undefined) continue;
    const addresses = new Set<string>();
    for (const name of ["primary-ip-address", "private-ipv4s", "ipv6s"]) {
      for (const text of words(await read(name))) addresses.add(text);
    }
    const vswitch = await read("vswitch-id");
    cards.push({ id, primary: mac === (primary ?? mac), addresses: [...addresses], vswitch });
  }
  return cards;
}

/** The server writes lists as lines, or as `["a","b"]`. */
function words(text: string | undefined): string[] {
  return (text ?? "").split(/[\s,"[\]]+/).filter(Boolean);
}
