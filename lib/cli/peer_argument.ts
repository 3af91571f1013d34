/**
 * Peers by what people call them: a host's name, an address, a subnet.
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import { formatIp, type Ip, sameIp, tryParseIp } from "../net/ip.ts";
import { containsIp, parsePrefix, type Prefix, samePrefix } from "../net/prefix.ts";
import { didYouMean } from "../config/suggest.ts";
import type { ProbeTarget } from "../probe/target.ts";

/** The peers that `argument` names; all for `all` and for none. @throws {Error} If it names no peer. */
export async function peersNamed(
  argument: string,
  targets: readonly ProbeTarget[],
  command: string,
): Promise<readonly ProbeTarget[]> {
  if (argument === "" || argument === "all") return targets;
  const named = targets.filter(({ key, name }) => key === argument || name === argument);
  if (named.length > 0) return named;
  const ip = tryParseIp(argument);
  if (ip) return found(targets.filter((target) => hasAddress(target, ip)), argument, targets, command);
  if (argument.includes("/")) {
    const prefix = readPrefix(argument);
    return found(targets.filter((target) => hasSubnet(target, prefix)), argument, targets, command);
  }
  const addresses = await addressesOf(argument);
  const byName = targets.filter((target) => addresses.some((one) => hasAddress(target, one)));
  return found(byName, argument, targets, command, addresses);
}

function readPrefix(text: string): Prefix {
  try {
    return parsePrefix(text);
  } catch {
    throw new Error(`${text}: isn't a subnet; one is written like 10.5.9.0/24`);
  }
}

function hasAddress({ lease }: ProbeTarget, ip: Ip): boolean {
  const { name } = ip.family;
  const subnet = lease.subnets[name];
  return sameIp(lease.attributes.publicIps[name], ip) || (subnet !== undefined && containsIp(subnet, ip));
}

function hasSubnet({ lease }: ProbeTarget, prefix: Prefix): boolean {
  return samePrefix(lease.subnets[prefix.family.name], prefix);
}

async function addressesOf(name: string): Promise<Ip[]> {
  try {
    return (await lookup(name, { all: true })).flatMap(({ address }) => tryParseIp(address) ?? []);
  } catch {
    return [];
  }
}

function found(
  peers: readonly ProbeTarget[],
  argument: string,
  targets: readonly ProbeTarget[],
  command: string,
  addresses: readonly Ip[] = [],
): readonly ProbeTarget[] {
  if (peers.length > 0) return peers;
  const names = targets.flatMap(({ key, name }) => [key, ...name === undefined ? [] : [name]]);
  const resolved = addresses.length === 0 ? "" : ` (${addresses.map(formatIp).join(", ")})`;
  throw new Error(
    `${argument}${resolved}: no peer has this name, address or subnet${didYouMean(argument, names)}; ` +
      `flanneld ${command} all takes every peer`,
  );
}
