/**
 * The instance that the daemon runs on, and which of its network interfaces carries the host's address.
 *
 * @module
 */
import { familiesOf } from "../../lib/net/family.ts";
import { formatIp, sameIp, tryParseIp } from "../../lib/net/ip.ts";
import { CloudError, hasCode } from "../cloud/errors.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import type { Imds } from "./imds.ts";

/** An instance's network interface, in DescribeInstances' spelling; any field may be missing. */
export interface InstanceInterface {
  readonly NetworkInterfaceId?: string | undefined;
  readonly SubnetId?: string | undefined;
  readonly VpcId?: string | undefined;
  readonly SourceDestCheck?: boolean | undefined;
  readonly PrivateIpAddress?: string | undefined;
  readonly PrivateIpAddresses?: readonly { PrivateIpAddress?: string | undefined }[] | undefined;
  readonly Ipv6Addresses?: readonly { Ipv6Address?: string | undefined }[] | undefined;
}

/** What of an instance matters here. */
export interface Instance {
  readonly vpcId: string | undefined;
  readonly subnetId: string | undefined;
  readonly interfaces: readonly InstanceInterface[];
}

/** The instance's interface that carries an address of the host's external interface. */
export function findInterface(
  instance: Instance,
  external: ExternalInterface,
  id: string,
): InstanceInterface {
  const cards = instance.interfaces.filter((card) => card.NetworkInterfaceId);
  const ours = familiesOf(external.addresses).map((family) => external.addresses[family.name]!);
  const found = cards.find((card) =>
    addressesOf(card).some((text) => ours.some((ip) => sameIp(ip, tryParseIp(text))))
  );
  if (found) return found;
  // A sparse answer: with one interface there is no other that it could be.
  const [only] = cards;
  if (cards.length === 1 && only && addressesOf(only).length === 0) return only;
  if (cards.length === 0) {
    throw new CloudError("conflict", `EC2 shows no network interface of instance ${id} (yet)`);
  }
  const has = cards.map((card) => `${card.NetworkInterfaceId} ${addressesOf(card).join(" ")}`).join(", ");
  throw new CloudError(
    "config",
    `No network interface of ${id} has an address of ${external.name} (${ours.map(formatIp).join(", ")}); ` +
      `it has ${has}: choose the right interface with -iface`,
  );
}

function addressesOf(card: InstanceInterface): string[] {
  return [
    card.PrivateIpAddress,
    ...(card.PrivateIpAddresses ?? []).map((one) => one.PrivateIpAddress),
    ...(card.Ipv6Addresses ?? []).map((one) => one.Ipv6Address),
  ].filter((text): text is string => Boolean(text));
}

/**
 * The instance as its metadata service describes it: all but the source/destination check.
 *
 * @throws {CloudError} If the service doesn't answer.
 */
export async function instanceFromImds(imds: Imds, signal: AbortSignal): Promise<Instance> {
  const root = "network/interfaces/macs/";
  const lines = (text: string) => text.split("\n").map((line) => line.trim()).filter(Boolean);
  const optional = (path: string) =>
    imds.read(path, signal).then(lines, (error) => {
      if (hasCode(error, "404")) return [];
      throw error;
    });
  const interfaces: InstanceInterface[] = [];
  for (const entry of lines(await imds.read(root, signal))) {
    const mac = root + entry.replace(/\/$/, "");
    interfaces.push({
      NetworkInterfaceId: await imds.read(`${mac}/interface-id`, signal),
      SubnetId: (await optional(`${mac}/subnet-id`))[0],
      VpcId: (await optional(`${mac}/vpc-id`))[0],
      PrivateIpAddresses: (await optional(`${mac}/local-ipv4s`)).map((ip) => ({ PrivateIpAddress: ip })),
      Ipv6Addresses: (await optional(`${mac}/ipv6s`)).map((ip) => ({ Ipv6Address: ip })),
    });
  }
  return { vpcId: interfaces[0]?.VpcId, subnetId: interfaces[0]?.SubnetId, interfaces };
}
