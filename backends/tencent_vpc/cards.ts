/**
 * The network interfaces of the instance that the daemon runs on.
 *
 * @module
 */
import type { ExternalInterface } from "../../lib/external/types.ts";
import { formatIp, sameIp, tryParseIp } from "../../lib/net/ip.ts";
import { CloudError } from "../cloud/errors.ts";
import type { TencentMetadata } from "./metadata.ts";

/** Where the host's address is in the cloud. */
export interface TencentPlace {
  readonly vpcId: string;
  readonly subnetId: string | undefined;
  /** The address that routes lead to. */
  readonly address: string;
  /** All IPv4 addresses of the instance: routes to any of them lead here. */
  readonly ownAddresses: readonly string[];
}

/** A network interface as the metadata server describes it. */
interface Card {
  readonly mac: string;
  readonly addresses: readonly string[];
}

const ROOT = "network/interfaces/macs/";

/** Finds the interface that carries the host's address. @throws {CloudError} Of kind `config` if none does. */
export async function findPlace(
  metadata: TencentMetadata,
  external: ExternalInterface,
  instance: string,
  signal: AbortSignal,
): Promise<TencentPlace> {
  const ip = external.addresses.ipv4;
  if (!ip) {
    throw new CloudError(
      "config",
      `${external.name} has no IPv4 address: choose the right interface with -iface`,
    );
  }
  const cards = await readCards(metadata, signal);
  const has = (card: Card) => card.addresses.some((text) => sameIp(ip, tryParseIp(text)));
  // A server that doesn't list addresses leaves the primary interface as the likely one.
  const known = cards.some(({ addresses }) => addresses.length > 0);
  const card = cards.find(has) ?? (known ? undefined : cards[0]);
  if (!card) {
    throw new CloudError(
      "config",
      `No network interface of ${instance} has the address ${formatIp(ip)} of ${external.name}; it has ` +
        `${
          cards.flatMap(({ addresses }) => addresses).join(", ") || "none"
        }: choose the right interface with -iface`,
    );
  }
  return {
    vpcId: await metadata.require(`${ROOT}${card.mac}/vpc-id`, signal),
    subnetId: await metadata.read(`${ROOT}${card.mac}/subnet-id`, signal),
    address: formatIp(ip),
    ownAddresses: [...new Set([formatIp(ip), ...cards.flatMap(({ addresses }) => addresses)])],
  };
}

/** All interfaces, the primary one first. */
async function readCards(metadata: TencentMetadata, signal: AbortSignal): Promise<Card[]> {
  const primary = await metadata.require("mac", signal);
  const listed = lines(await metadata.read(ROOT, signal));
  const cards: Card[] = [];
  for (const mac of new Set([primary, ...listed])) {
    const main = await metadata.read(`${ROOT}${mac}/primary-local-ipv4`, signal);
    const all = lines(await metadata.read(`${ROOT}${mac}/local-ipv4s/`, signal));
    cards.push({ mac, addresses: [...new Set([...main ? [main] : [], ...all])] });
  }
  return cards;
}

/** Folders are listed a line each, with a slash at the end. */
function lines(text: string | undefined): string[] {
  return (text ?? "").split("\n").map((line) => line.trim().replace(/\/$/, "")).filter(Boolean);
}
