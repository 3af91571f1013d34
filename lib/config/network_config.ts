/**
 * The network config: parsing, defaults, rules. The keys and their rules are flannel's.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import { formatIp } from "../net/ip.ts";
import { formatPrefix } from "../net/prefix.ts";
import { FAMILY_KEYS, ignoredKeys, readFamily } from "./family_config.ts";
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
  for (const keys of FAMILY_KEYS) {
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
  for (const keys of FAMILY_KEYS) {
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
