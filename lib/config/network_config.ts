/**
 * The network config: parsing, defaults, rules. The keys and their rules are flannel's.
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
  parsePrefix,
  type Prefix,
  prefixOf,
} from "../net/prefix.ts";
import { type ConfigField, FieldReader } from "./fields.ts";
import { JsonSyntaxError, parseJson } from "./json_text.ts";
import { didYouMean } from "./suggest.ts";
import {
  type BackendConfig,
  type ConfigFault,
  type FamilyConfig,
  type Json,
  type JsonObject,
  type NetworkConfig,
} from "./types.ts";

/** A config as far as it can be read, all that is wrong with it, and what its author should know. */
export interface ParsedNetworkConfig extends NetworkConfig {
  /** All that is wrong. If there is anything, the config can't be used, and `families` has only what could be read. */
  readonly faults: readonly ConfigFault[];
  /** The families that are switched on, whether or not their keys are right. */
  readonly enabled: readonly Family[];
  /** Keys at the top level that mean nothing, as written. */
  readonly unknownKeys: readonly string[];
  /** The fields of the enabled families and those of all, as they are declared by being read. */
  readonly fields: readonly ConfigField[];
  /** Sentences for the log: unknown keys, keys without effect. */
  readonly warnings: readonly string[];
}

/** The keys of one family and what differs in its rules. */
interface FamilyKeys {
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

const KEYS: readonly FamilyKeys[] = [
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

/**
 * Parses and checks a network config and fills in the defaults.
 *
 * @param text The JSON text as it stands in the store or a file.
 */
export function parseNetworkConfig(text: string): ParsedNetworkConfig {
  const object = parseObject(text);
  if ("message" in object) return { ...NOTHING_READ, faults: [{ key: "", message: object.message }] };
  const reader = new FieldReader(object.value);
  const warnings: string[] = [];
  const families: FamilyConfig[] = [];
  const enabled: Family[] = [];
  for (const keys of KEYS) {
    const { label } = keys.family;
    if (!reader.boolean(keys.enable, keys.enabledByDefault, { help: `The network has ${label}` })) {
      warnings.push(...ignoredKeys(reader, keys));
      continue;
    }
    enabled.push(keys.family);
    const family = readFamily(reader, keys);
    if (family) families.push(family);
  }
  if (enabled.length === 0) reader.fault("EnableIPv4", "one of EnableIPv4 and EnableIPv6 must be true");
  const enableNFTables = reader.boolean("EnableNFTables", false, {
    help: "Masquerade and forward rules by nftables instead of iptables",
  });
  const peerFilter = reader.boolean("PeerFilter", false, {
    help: "Only live peers may send into the tunnel: an nftables rule drops what comes from others",
  });
  const backend = readBackend(reader);
  const unknownKeys = reader.unknownKeys();
  warnings.push(...unknownKeyWarnings(unknownKeys, reader.knownKeys()));
  const { faults, fields } = reader;
  return { families, enabled, enableNFTables, peerFilter, backend, faults, fields, unknownKeys, warnings };
}

/** What is known of a text that isn't a JSON object. */
const NOTHING_READ: Omit<ParsedNetworkConfig, "faults"> = {
  ...{ families: [], enabled: [], enableNFTables: false, peerFilter: false },
  ...{ backend: { type: "", options: {} }, fields: [], unknownKeys: [], warnings: [] },
};

/**
 * Sentences that name keys which mean nothing, with the key that was probably meant.
 *
 * @param path What to put before each key: empty, or like `Backend.`.
 */
export function unknownKeyWarnings(
  unknown: readonly string[],
  known: readonly string[],
  path = "",
): string[] {
  return unknown.map((key) => `${path}${key}: unknown key, ignored${didYouMean(key, known)}`);
}

/**
 * The config as JSON with every default filled in, in the contract's spelling and order.
 *
 * @param backendComplete The backend's own options, completed by its parser.
 */
export function completeConfig(config: NetworkConfig, backendComplete: JsonObject): JsonObject {
  const result: { [key: string]: Json } = {};
  for (const keys of KEYS) {
    const family = config.families.find((one) => one.family === keys.family);
    result[keys.enable] = family !== undefined;
    if (!family) continue;
    result[keys.network] = formatPrefix(family.network);
    result[keys.subnetLength] = family.subnetLength;
    result[keys.subnetMin] = formatIp(family.subnetMin);
    result[keys.subnetMax] = formatIp(family.subnetMax);
  }
  result["EnableNFTables"] = config.enableNFTables;
  result["PeerFilter"] = config.peerFilter;
  result["Backend"] = { Type: config.backend.type, ...backendComplete };
  return result;
}

function parseObject(text: string): { value: JsonObject } | { message: string } {
  let value: Json;
  try {
    value = parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    return { message: `not valid JSON: ${error.message}` };
  }
  if (isObject(value)) return { value };
  const message = "the network config must be a JSON object in {}, like " +
    '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}';
  return { message };
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Names the keys of a disabled family that are set all the same, and marks them as known. */
function ignoredKeys(reader: FieldReader, keys: FamilyKeys): string[] {
  const names = [keys.network, keys.subnetLength, keys.subnetMin, keys.subnetMax];
  const set = names.filter((name) => reader.has(name));
  return set.map((name) => `${name}: ignored, because ${keys.enable} is false`);
}

/** Reads one enabled family; undefined if its network is at fault. */
function readFamily(reader: FieldReader, keys: FamilyKeys): FamilyConfig | undefined {
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

function tryParsePrefix(text: string): Prefix | undefined {
  try {
    return parsePrefix(text);
  } catch {
    return undefined;
  }
}

function readBackend(reader: FieldReader): BackendConfig {
  const value = reader.raw("Backend");
  reader.declare("Backend", "an object", {
    help: "How packets travel: its key Type names the backend, the others are that backend's own",
    defaultText: '`{"Type": "udp"}`, as in the original',
  });
  // As the original's code does.
  if (value === undefined) return { type: "udp", options: {} };
  if (!isObject(value)) {
    reader.fault("Backend", 'must be an object like {"Type": "vxlan"}');
    return { type: "", options: {} };
  }
  const backend = new FieldReader(value, "Backend.");
  const type = backend.string("Type", {}) ?? "";
  if (type === "" && backend.faults.length === 0) {
    backend.fault("Type", 'must be the name of a backend, like "vxlan"');
  }
  reader.faults.push(...backend.faults);
  const options = Object.entries(value).filter(([key]) => key.toLowerCase() !== "type");
  return { type: type.toLowerCase(), options: Object.fromEntries(options) };
}
