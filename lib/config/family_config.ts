/**
 * One family's keys of the network config: its network, and which subnets hosts get of it.
 *
 * @module
 */
import { type Family, IPV4, IPV6 } from "../net/family.ts";
import { formatIp, type Ip, ipOf, tryParseIp } from "../net/ip.ts";
import {
  containsIp,
  firstIp,
  formatPrefix,
  ipAt,
  lastIp,
  type Prefix,
  prefixOf,
  tryParsePrefix,
} from "../net/prefix.ts";
import type { FieldReader } from "./fields.ts";
import type { FamilyConfig } from "./types.ts";

/** The keys of one family and what differs in its rules. */
export interface FamilyKeys {
  readonly family: Family;
  readonly enable: string;
  readonly enabledByDefault: boolean;
  readonly network: string;
  readonly subnetLength: string;
  readonly subnetMin: string;
  readonly subnetMax: string;
  /** Subnet length where the network leaves room for it. */
  readonly defaultLength: number;
}

/** A network has at least four subnets: its own length plus this is the shortest subnet length. */
const SUBNET_BITS_MIN = 2;

/** A subnet has at least four addresses. */
const HOST_BITS_MIN = 2;

/** In the order in which they are read and printed. */
export const FAMILY_KEYS: readonly FamilyKeys[] = [
  {
    family: IPV4,
    enable: "EnableIPv4",
    enabledByDefault: true,
    network: "Network",
    subnetLength: "SubnetLen",
    subnetMin: "SubnetMin",
    subnetMax: "SubnetMax",
    defaultLength: 24,
  },
  {
    family: IPV6,
    enable: "EnableIPv6",
    enabledByDefault: false,
    network: "IPv6Network",
    subnetLength: "IPv6SubnetLen",
    subnetMin: "IPv6SubnetMin",
    subnetMax: "IPv6SubnetMax",
    defaultLength: 64,
  },
];

/** Names the keys of a disabled family that are set all the same, and marks them as known. */
export function ignoredKeys(reader: FieldReader, keys: FamilyKeys): string[] {
  const names = [keys.network, keys.subnetLength, keys.subnetMin, keys.subnetMax];
  const set = names.filter((name) => reader.has(name));
  return set.map((name) => `${name}: ignored, because ${keys.enable} is false`);
}

/** Reads one enabled family; undefined if its network is at fault. */
export function readFamily(reader: FieldReader, keys: FamilyKeys): FamilyConfig | undefined {
  const network = readNetwork(reader, keys);
  const length = network && readSubnetLength(reader, keys, network);
  if (!network || length === undefined) {
    // Known, even where nothing can be said about their values; that they lie in the network can be said without a length.
    reader.raw(keys.subnetLength);
    for (const key of [keys.subnetMin, keys.subnetMax]) {
      if (network) readBound(reader, key, network, keys.family.bits);
      else reader.raw(key);
    }
    return undefined;
  }
  const size = 1n << BigInt(keys.family.bits - length);
  const last = prefixOf(lastIp(network), length);
  for (
    const [key, which, fallback] of [[keys.subnetMin, "First", "second"], [keys.subnetMax, "Last", "last"]]
  ) {
    reader.declare(key!, "an address on a subnet's boundary", {
      help: `${which} ${keys.family.label} subnet that is given to a host`,
      defaultText: `the ${fallback} subnet of the network`,
    });
  }
  const subnetMin = readBound(reader, keys.subnetMin, network, length) ?? ipAt(network, size);
  const subnetMax = readBound(reader, keys.subnetMax, network, length) ?? firstIp(last);
  if (subnetMin.value > subnetMax.value) {
    const key = reader.has(keys.subnetMin) ? keys.subnetMin : keys.subnetMax;
    const rule = `${keys.subnetMin} (${formatIp(subnetMin)}) must not lie above ` +
      `${keys.subnetMax} (${formatIp(subnetMax)})`;
    reader.fault(key, rule);
  }
  return { family: keys.family, network, subnetLength: length, subnetMin, subnetMax };
}

function readNetwork(reader: FieldReader, keys: FamilyKeys): Prefix | undefined {
  const { family } = keys;
  const longest = family.bits - HOST_BITS_MIN - SUBNET_BITS_MIN;
  const example = family === IPV4 ? "10.5.0.0/16" : "fc00::/48";
  reader.declare(keys.network, `a network like \`${example}\`, up to /${longest}`, {
    help:
      `The whole ${family.label} network, of which every host gets a subnet; needed where ${keys.enable} is true`,
  });
  const value = reader.raw(keys.network);
  const fault = (rule: string) => {
    reader.fault(keys.network, rule);
    return undefined;
  };
  if (value === undefined || value === "") {
    return fault(`must be an ${family.label} network like ${example}, because ${keys.enable} is true`);
  }
  const network = typeof value === "string" ? tryParsePrefix(value) : undefined;
  if (network?.family !== family) {
    return fault(`must be an ${family.label} network with its length, like ${example}`);
  }
  if (network.length < 1 || network.length > longest) {
    return fault(`the length must be between 1 and ${longest}, so that there are subnets to give away`);
  }
  return network;
}

function readSubnetLength(reader: FieldReader, keys: FamilyKeys, network: Prefix): number | undefined {
  const min = network.length + SUBNET_BITS_MIN;
  const max = keys.family.bits - HOST_BITS_MIN;
  const reason = `for ${keys.network} ${formatPrefix(network)}`;
  const faults = reader.faults.length;
  const fallback = Math.max(keys.defaultLength, min);
  const length = reader.integer(
    keys.subnetLength,
    {
      ...{ min, max, zeroIsUnset: true, reason },
      values: `the network's length + ${SUBNET_BITS_MIN} to ${max}`,
      help: `Length of a host's ${keys.family.label} subnet`,
      defaultText: `${keys.defaultLength}; the network's length + 2 where that is more`,
    },
    fallback,
  );
  return reader.faults.length > faults ? undefined : length;
}

/** Reads SubnetMin or SubnetMax; undefined where it is unset or at fault. */
function readBound(reader: FieldReader, key: string, network: Prefix, length: number): Ip | undefined {
  const value = reader.raw(key);
  if (value === undefined || value === "") return undefined;
  const { family } = network;
  const ip = typeof value === "string" ? tryParseIp(value) : undefined;
  // The original's zero value: unset.
  if (ip?.family === family && ip.value === 0n) return undefined;
  const fault = (rule: string) => {
    reader.fault(key, rule);
    return undefined;
  };
  if (ip?.family !== family) {
    return fault(`must be an ${family.label} address without a length, like ${formatIp(firstIp(network))}`);
  }
  if (!containsIp(network, ip)) return fault(`must lie in ${formatPrefix(network)}`);
  const below = firstIp(prefixOf(ip, length));
  if (below.value === ip.value) return ip;
  const above = ipOf(family, below.value + (1n << BigInt(family.bits - length)));
  const choice = containsIp(network, above) ? ` or ${formatIp(above)}` : "";
  return fault(`must be the first address of a /${length}, like ${formatIp(below)}${choice}`);
}
