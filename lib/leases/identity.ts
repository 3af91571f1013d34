/**
 * Whether a lease in the store is this host's: by the address that it publishes, or by what proves it.
 *
 * The address alone proves nothing: a replaced machine takes the subnet of the one before it by it, and two hosts
 * may be configured with the same one.
 *
 * @module
 */
import type { Json, JsonObject } from "../config/types.ts";
import { FAMILIES, familiesOf, type PerFamily } from "../net/family.ts";
import { formatIp, sameIp } from "../net/ip.ts";
import { type Prefix, samePrefix } from "../net/prefix.ts";
import type { Lease, LeaseAttributes, StoredLease } from "./types.ts";

/** What an earlier run left on this host. */
export interface HostEvidence {
  /** The subnets of its subnet file. */
  readonly subnets?: PerFamily<Prefix>;
  /** The lease as it last stood in the store, and what this host published under the key before. */
  readonly lease?: { readonly key: string; readonly value: string; readonly former?: readonly string[] };
  /** MACs of the VXLAN devices that are here, lower case. */
  readonly macs?: readonly string[];
}

/** Whether a lease is this host's: certainly, perhaps (its holder may be another one that runs), or not. */
export type Ownership = "proven" | "possible" | "none";

/** Judges leases for one host. */
export class HostIdentity {
  readonly #attributes: LeaseAttributes;
  readonly #evidence: HostEvidence;
  readonly #texts: readonly string[] | undefined;

  /** @param attributes What this host is about to publish. */
  constructor(attributes: LeaseAttributes, evidence: HostEvidence) {
    this.#attributes = attributes;
    this.#evidence = evidence;
    const { ipv4, ipv6 } = attributes.publicIps;
    // An IPv4 address has one text form: who looks for one needn't decode 20,000 leases.
    const isText = ipv4 !== undefined && ipv6 === undefined;
    this.#texts = isText ? [formatIp(ipv4), ...evidence.macs ?? [], ...vtepMacs(attributes)] : undefined;
  }

  /** Whether the stored text can be this host's lease at all: cheap, and never wrong when it says no. */
  mayOwn({ key, value }: Pick<StoredLease, "key" | "value">): boolean {
    return this.#texts === undefined || key === this.#evidence.lease?.key ||
      this.#texts.some((text) => value.includes(text));
  }

  /** Whose the lease is. */
  judge({ key, value }: Pick<StoredLease, "key" | "value">, { subnets, attributes }: Lease): Ownership {
    const { lease: last, macs = [], subnets: previous } = this.#evidence;
    const theirMacs = vtepMacs(attributes);
    if (last?.key === key && (last.value === value || last.former?.includes(value))) return "proven";
    if (theirMacs.some((mac) => macs.includes(mac))) return "proven";
    const isSameMachine = sharesVtepMac(attributes, this.#attributes);
    if (!sameHost(attributes, this.#attributes)) return isSameMachine ? "possible" : "none";
    const isEarlier = previous !== undefined && sameSubnets(previous, subnets) &&
      attributes.backendType === this.#attributes.backendType;
    return isSameMachine || (isEarlier && theirMacs.length === 0) ? "proven" : "possible";
  }
}

/**
 * Whether both are one host's by what they publish: the first family in which both have an address decides. Hosts
 * behind one address differ by the port of the udp backend.
 */
export function sameHost(a: LeaseAttributes, b: LeaseAttributes): boolean {
  const family = FAMILIES.find(({ name }) => a.publicIps[name] && b.publicIps[name]);
  return family !== undefined && sameIp(a.publicIps[family.name], b.publicIps[family.name]) &&
    field(a.backendData.ipv4, "Port") === field(b.backendData.ipv4, "Port");
}

/** Whether two leases are of the same subnets. */
export function sameSubnets(a: PerFamily<Prefix>, b: PerFamily<Prefix>): boolean {
  return FAMILIES.every(({ name }) => samePrefix(a[name], b[name]));
}

/** Whether both have a VtepMAC in common: it is made of what is a machine's own, or a device's that is here. */
export function sharesVtepMac(a: LeaseAttributes, b: LeaseAttributes): boolean {
  const macs = vtepMacs(b);
  return vtepMacs(a).some((mac) => macs.includes(mac));
}

function vtepMacs({ backendData }: LeaseAttributes): string[] {
  return familiesOf(backendData).flatMap(({ name }) => {
    const mac = field(backendData[name], "VtepMAC");
    return typeof mac === "string" ? [mac.toLowerCase()] : [];
  });
}

function field(data: Json | undefined, name: string): Json | undefined {
  if (data === undefined || data === null || typeof data !== "object" || Array.isArray(data)) {
    return undefined;
  }
  return (data as JsonObject)[name];
}
