/**
 * Lease keys and values as they stand in the store, byte for byte as the original flannel writes them.
 *
 * A key names the subnets (`10.5.88.0-24`, `10.5.88.0-24&fc00:0:0:1::-64`); an IPv6-only lease carries the
 * empty IPv4 prefix in front (`0.0.0.0-0&fc00:0:0:1::-64`), as the original's key is always led by IPv4. Its
 * value says `"PublicIP":"0.0.0.0"` for the same reason.
 *
 * @module
 */
import type { Json, JsonObject } from "../config/types.ts";
import { bothFamilies, FAMILIES, type Family, IPV4, IPV6, type PerFamily } from "../net/family.ts";
import { formatIp, type Ip, tryParseIp } from "../net/ip.ts";
import { firstIp, type Prefix, prefixOf, samePrefix } from "../net/prefix.ts";
import type { Lease, LeaseAttributes, StoredLease } from "./types.ts";

/** Something in the store that isn't a lease: which key, and what is wrong with it. */
export interface LeaseFault {
  readonly key: string;
  /** What is wrong with the key or its value, quoting it (shortened). */
  readonly reason: string;
}

/** The outcome of decoding: one of the two. */
export type DecodedLease =
  | { readonly lease: Lease; readonly fault?: undefined }
  | { readonly lease?: undefined; readonly fault: LeaseFault };

const EMPTY_IPV4 = "0.0.0.0-0";

/** The key below `PREFIX/subnets/` for these subnets (at least one). */
export function encodeLeaseKey(subnets: PerFamily<Prefix>): string {
  const ipv4 = subnets.ipv4 ? encodePart(subnets.ipv4) : EMPTY_IPV4;
  return subnets.ipv6 ? `${ipv4}&${encodePart(subnets.ipv6)}` : ipv4;
}

function encodePart(prefix: Prefix): string {
  return `${formatIp(firstIp(prefix))}-${prefix.length}`;
}

/** The subnets that a key names, or undefined if it isn't a lease key. Text forms of one address are equal. */
export function decodeLeaseKey(key: string): PerFamily<Prefix> | undefined {
  const parts = key.split("&");
  if (parts.length > FAMILIES.length) return undefined;
  const prefixes: (Prefix | undefined)[] = [];
  for (const [index, part] of parts.entries()) {
    const prefix = decodePart(FAMILIES[index]!, part);
    if (!prefix) return undefined;
    // 0.0.0.0-0 stands for "no subnet of this family".
    prefixes.push(prefix.length > 0 ? prefix : undefined);
  }
  const [ipv4, ipv6] = prefixes;
  return ipv4 || ipv6 ? bothFamilies(ipv4, ipv6) : undefined;
}

function decodePart(family: Family, part: string): Prefix | undefined {
  const dash = part.lastIndexOf("-");
  const digits = part.slice(dash + 1);
  // Without leading zeros: a subnet has one key, but for the forms of an IPv6 address.
  if (dash < 0 || !/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  const ip = tryParseIp(part.slice(0, dash));
  const length = Number(digits);
  if (ip?.family !== family || length > family.bits) return undefined;
  const prefix = prefixOf(ip, length);
  return prefix.base === ip.value ? prefix : undefined;
}

/** Whether two keys name the same subnets, whatever their text; keys that aren't lease keys go by text. */
export function sameLeaseKey(a: string, b: string): boolean {
  if (a === b) return true;
  // Only IPv6 addresses have more than one text form here, so the IPv4 parts must be equal as text.
  const ipv4 = a.slice(0, a.indexOf("&") + 1);
  if (ipv4 === "" || !b.startsWith(ipv4)) return false;
  const [left, right] = [decodeLeaseKey(a), decodeLeaseKey(b)];
  return left !== undefined && right !== undefined && samePrefix(left.ipv6, right.ipv6);
}

/** The value's text: the original's fields in its order. */
export function encodeLeaseValue(attributes: LeaseAttributes): string {
  const { publicIps, backendType, backendData } = attributes;
  const value = {
    PublicIP: publicIps.ipv4 ? formatIp(publicIps.ipv4) : "0.0.0.0",
    PublicIPv6: publicIps.ipv6 ? formatIp(publicIps.ipv6) : null,
    ...backendType ? { BackendType: backendType } : {},
    ...backendData.ipv4 !== undefined ? { BackendData: backendData.ipv4 } : {},
    ...backendData.ipv6 !== undefined ? { BackendV6Data: backendData.ipv6 } : {},
  };
  // Go's encoding/json escapes these characters inside strings; outside of strings JSON has none of them.
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** What stands under a reservation that is made for no host: nobody takes its subnet. */
export const RESERVED_FOR_NOBODY = encodeLeaseValue({ publicIps: {}, backendData: {} });

/** Decodes a key and its value; what is malformed comes back as a fault. Never throws. */
export function decodeLease(stored: Pick<StoredLease, "key" | "value">): DecodedLease {
  const { key } = stored;
  const subnets = decodeLeaseKey(key);
  if (!subnets) {
    return {
      fault: {
        key,
        reason: `${quote(key)} isn't a lease key (like 10.5.88.0-24 or 10.5.88.0-24&fc00:0:0:1::-64)`,
      },
    };
  }
  const attributes = decodeLeaseValue(stored.value);
  if (typeof attributes === "string") return { fault: { key, reason: attributes } };
  return { lease: { subnets, attributes } };
}

/** The attributes that a value holds, or what is wrong with it. Unknown fields are ignored. */
export function decodeLeaseValue(value: string): LeaseAttributes | string {
  const fields = parseObject(value);
  if (!fields) return `its value ${quote(value)} isn't a JSON object`;
  const ips: (Ip | undefined)[] = [];
  for (const [family, name] of [[IPV4, "PublicIP"], [IPV6, "PublicIPv6"]] as const) {
    const ip = decodePublicIp(family, fields[name]);
    if (ip === "bad") {
      return `its ${name} ${quote(JSON.stringify(fields[name]))} isn't an ${family.label} address`;
    }
    ips.push(ip);
  }
  const publicIps = bothFamilies(...ips as [Ip | undefined, Ip | undefined]);
  if (!publicIps.ipv4 && !publicIps.ipv6) return `its value ${quote(value)} has no PublicIP`;
  const { BackendType: type, BackendData: ipv4, BackendV6Data: ipv6 } = fields;
  if (type !== undefined && type !== null && typeof type !== "string") {
    return `its BackendType ${quote(JSON.stringify(type))} isn't a string`;
  }
  const backendData = bothFamilies(ipv4 ?? undefined, ipv6 ?? undefined);
  return type ? { publicIps, backendType: type, backendData } : { publicIps, backendData };
}

/** The address; undefined where there is none (absent, null or the unspecified address). */
function decodePublicIp(family: Family, value: Json | undefined): Ip | undefined | "bad" {
  if (value === undefined || value === null || value === "") return undefined;
  const ip = typeof value === "string" ? tryParseIp(value) : undefined;
  if (ip?.family !== family) return "bad";
  return ip.value === 0n ? undefined : ip;
}

const FIELDS = ["PublicIP", "PublicIPv6", "BackendType", "BackendData", "BackendV6Data"] as const;
const FIELD_NAMES = new Map<string, string>(FIELDS.map((name) => [name.toLowerCase(), name]));

/** The object's known fields under their own names: Go's reader takes them whatever their case. */
function parseObject(text: string): JsonObject | undefined {
  let parsed: Json;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) return undefined;
  const fields: Record<string, Json> = {};
  for (const [key, value] of Object.entries(parsed as JsonObject)) {
    const name = FIELD_NAMES.get(key.toLowerCase());
    if (name !== undefined) fields[name] = value;
  }
  return fields;
}

/** Text from the store, fit for a log line. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
