/**
 * Which leases a person means: by subnet, key, address or host name.
 *
 * @module
 */
import { decodeLeaseKey, sameLeaseKey } from "../leases/codec.ts";
import type { LeaseView } from "../leases/inspect.ts";
import { familiesOf, type PerFamily } from "../net/family.ts";
import { formatIp, sameIp, tryParseIp } from "../net/ip.ts";
import { containsIp, parseCidr, type Prefix, samePrefix } from "../net/prefix.ts";
import { UsageError } from "../options/usage_error.ts";
import type { HostNames } from "../status/host_names.ts";

/**
 * The subnets that a word names: `10.5.9.0/24`, in dual stack also `10.5.9.0/24,fc00::/64`, or a key.
 *
 * @throws {UsageError}
 */
export function parseSubnets(word: string): PerFamily<Prefix> {
  const ofKey = decodeLeaseKey(word);
  if (ofKey) return ofKey;
  const subnets: { ipv4?: Prefix; ipv6?: Prefix } = {};
  try {
    for (const part of word.split(",")) {
      const { ip, prefix } = parseCidr(part.trim());
      const { name } = prefix.family;
      if (ip.value !== prefix.base || subnets[name]) throw new RangeError("not a subnet");
      subnets[name] = prefix;
    }
    return subnets;
  } catch {
    throw new UsageError(
      `${
        JSON.stringify(word)
      }: must be a subnet like 10.5.9.0/24, or in dual stack 10.5.9.0/24,fc00:0:0:9::/64`,
    );
  }
}

/** The lease of a subnet; one family of it is enough where the word names one. */
function leaseOfSubnets(
  leases: readonly LeaseView[],
  wanted: PerFamily<Prefix>,
): LeaseView | undefined {
  return leases.find(({ subnets }) =>
    subnets !== undefined && familiesOf(wanted).every(({ name }) => samePrefix(subnets[name], wanted[name]))
  );
}

/** The leases that a word means; of an address those of its host, else that of the subnet that it is in. */
export function searchLeases(leases: readonly LeaseView[], word: string, names: HostNames): LeaseView[] {
  const named = leases.filter(({ key, host }) => host === word || sameLeaseKey(key, word));
  if (named.length > 0) return named;
  const ip = tryParseIp(word);
  if (ip) {
    const { name } = ip.family;
    const hosts = leases.filter(({ attributes }) => sameIp(attributes?.publicIps[name], ip));
    if (hosts.length > 0) return hosts;
    return leases.filter(({ subnets }) => subnets?.[name] !== undefined && containsIp(subnets[name], ip));
  }
  const ofName = leases.filter(({ attributes }) =>
    familiesOf(attributes?.publicIps ?? {}).some(({ name }) =>
      names.get(formatIp(attributes!.publicIps[name]!)) === word
    )
  );
  if (ofName.length > 0 || !/[/,]/.test(word)) return ofName;
  const found = leaseOfSubnets(leases, parseSubnets(word));
  return found ? [found] : [];
}
