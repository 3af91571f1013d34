/**
 * The network config as the rest of the program sees it: parsed, completed with defaults, checked.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import type { Prefix } from "../net/prefix.ts";

/** A value as JSON.parse gives it. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

/** A JSON object. */
export interface JsonObject {
  readonly [key: string]: Json;
}

/** What the config says of one enabled address family. */
export interface FamilyConfig {
  readonly family: Family;
  /** The whole network (Network, IPv6Network). */
  readonly network: Prefix;
  /** Length of a host's subnet (SubnetLen, IPv6SubnetLen). */
  readonly subnetLength: number;
  /** First and last subnet that may be leased, by their lowest address (SubnetMin, SubnetMax and their IPv6 counterparts). */
  readonly subnetMin: Ip;
  readonly subnetMax: Ip;
}

/** The backend part: its Type in lower case, and its other keys as they came. */
export interface BackendConfig {
  readonly type: string;
  /** All keys of the Backend object but Type, as written; the chosen backend parses them. */
  readonly options: JsonObject;
}

/** A checked network config. */
export interface NetworkConfig {
  /** The enabled families, IPv4 first; at least one. */
  readonly families: readonly FamilyConfig[];
  /** nftables instead of iptables (EnableNFTables). */
  readonly enableNFTables: boolean;
  /** Only live peers may send into the tunnel (PeerFilter). */
  readonly peerFilter: boolean;
  readonly backend: BackendConfig;
}

/** One thing that is wrong with a config: the key, what it is, what it must be. */
export interface ConfigFault {
  /** The key's path in the contract's spelling, as `Backend.VNI`. */
  readonly key: string;
  /** The whole sentence, naming key, value and rule. */
  readonly message: string;
}

/** A config that can't be used. `faults` has all that is wrong with it, not only the first. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  constructor(readonly faults: readonly ConfigFault[]) {
    super(faults.map((fault) => fault.message).join("; "));
  }
}
