/**
 * From a Node to a lease.
 *
 * @module
 */
import type { Json } from "../../config/types.ts";
import type { NodeRecord } from "../../kube/nodes.ts";
import type { Family, PerFamily } from "../../net/family.ts";
import { type Ip, tryParseIp } from "../../net/ip.ts";
import { parsePrefix, type Prefix } from "../../net/prefix.ts";
import type { Lease, LeaseAttributes } from "../types.ts";
import { ANNOTATIONS } from "./annotations.ts";

/** A Node as a lease, or what is wrong with it; neither where the Node has nothing to do with flannel. */
export interface NodeLease {
  /** The families that are complete: with podCIDR and public address. */
  readonly lease?: Lease;
  readonly fault?: string;
}

const NAMES = {
  ipv4: { publicIp: ANNOTATIONS.publicIp, data: ANNOTATIONS.backendData },
  ipv6: { publicIp: ANNOTATIONS.publicIpv6, data: ANNOTATIONS.backendV6Data },
} as const;

/**
 * The lease that a Node says. A family that is incomplete is left out: the others work.
 *
 * @param families Those of the network.
 */
export function leaseOfNode(node: NodeRecord, prefix: string, families: readonly Family[]): NodeLease {
  const annotation = (name: string) => node.annotations[prefix + name];
  if (annotation(ANNOTATIONS.managed) !== "true") return {};
  const subnets = subnetsOfNode(node);
  if (typeof subnets === "string") return { fault: subnets };
  const lease = {
    subnets: {} as Record<string, Prefix>,
    publicIps: {} as Record<string, Ip>,
    data: {} as Record<string, Json>,
  };
  let fault: string | undefined;
  for (const family of families) {
    const read = readFamily(family, subnets[family.name], annotation);
    if (typeof read === "string") {
      fault ??= read;
      continue;
    }
    lease.subnets[family.name] = read.subnet;
    lease.publicIps[family.name] = read.publicIp;
    if (read.data !== null) lease.data[family.name] = read.data;
  }
  if (Object.keys(lease.subnets).length === 0) return { fault: fault ?? "it has no podCIDR" };
  const backendType = annotation(ANNOTATIONS.backendType);
  const attributes = {
    publicIps: lease.publicIps,
    backendData: lease.data,
    ...(backendType ? { backendType } : {}),
  };
  return { lease: { subnets: lease.subnets, attributes }, ...(fault === undefined ? {} : { fault }) };
}

/** What a Node says of its backend, whatever else it lacks: a host that starts again may take that up. */
export function attributesOfNode(node: NodeRecord, prefix: string): LeaseAttributes {
  const backendType = node.annotations[prefix + ANNOTATIONS.backendType];
  const data: Record<string, Json> = {};
  for (const [name, { data: dataName }] of Object.entries(NAMES)) {
    const value = parseData(node.annotations[prefix + dataName]);
    if (value !== undefined && value !== null) data[name] = value;
  }
  return { publicIps: {}, backendData: data, ...(backendType ? { backendType } : {}) };
}

/** The first podCIDR of each family, in whatever order they stand; a sentence if one is none. */
export function subnetsOfNode({ podCidrs }: NodeRecord): PerFamily<Prefix> | string {
  const subnets: { ipv4?: Prefix; ipv6?: Prefix } = {};
  for (const text of podCidrs) {
    const prefix = tryParsePrefix(text);
    if (!prefix) return `its podCIDR ${JSON.stringify(text.slice(0, 80))} isn't a CIDR`;
    subnets[prefix.family.name] ??= prefix;
  }
  return subnets;
}

function readFamily(
  family: Family,
  subnet: Prefix | undefined,
  annotation: (name: string) => string | undefined,
): { subnet: Prefix; publicIp: Ip; data: Json } | string {
  const { publicIp: publicIpName, data: dataName } = NAMES[family.name];
  if (!subnet) return `it has no ${family.label} podCIDR`;
  const text = annotation(publicIpName) ?? "";
  const publicIp = tryParseIp(text);
  if (publicIp?.family !== family) {
    return text === ""
      ? `it has no annotation ${publicIpName}`
      : `its annotation ${publicIpName} ${
        JSON.stringify(text.slice(0, 80))
      } isn't an ${family.label} address`;
  }
  const data = parseData(annotation(dataName));
  return data === undefined ? `its annotation ${dataName} isn't JSON` : { subnet, publicIp, data };
}

/** Backend data as JSON; undefined for what is none. An absent annotation is null. */
function parseData(text: string | undefined): Json | undefined {
  try {
    return JSON.parse(text || "null") as Json;
  } catch {
    return undefined;
  }
}

function tryParsePrefix(text: string): Prefix | undefined {
  try {
    return parsePrefix(text);
  } catch {
    return undefined;
  }
}
