/**
 * Readers of option values. Each takes the text and gives the value, or throws a RangeError whose message is
 * the rule: `must be a whole number between 0 and 65535`.
 *
 * @module
 */
import { type Family, IPV4, IPV6 } from "../net/family.ts";
import { type Ip, tryParseIp } from "../net/ip.ts";
import { parsePrefix, type Prefix, prefixOf } from "../net/prefix.ts";

/** Where config and leases live. */
export type StoreChoice = { readonly kind: "etcd" } | { readonly kind: "sqlite"; readonly path: string };

/** Any text. */
export function text(value: string): string {
  return value;
}

/** Go's boolean words (strconv.ParseBool). */
export function boolean(value: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false;
  throw new RangeError("must be true or false (or 1, 0, t, f)");
}

/** A whole number from `min` to `max`. */
export function integer(min: number, max: number): (value: string) => number {
  return (value) => {
    const number = /^-?(0|[1-9]\d{0,14})$/.test(value) ? Number(value) : NaN;
    if (number >= min && number <= max) return number;
    throw new RangeError(`must be a whole number between ${min} and ${max}`);
  };
}

/** One of some words. */
export function oneOf<const Word extends string>(...words: readonly Word[]): (value: string) => Word {
  return (value) => {
    const match = words.find((word) => word === value);
    if (match !== undefined) return match;
    throw new RangeError(`must be ${words.join(" or ")}`);
  };
}

/** An address of `family`, or of either. */
export function address(family?: Family): (value: string) => Ip {
  return (value) => {
    const ip = tryParseIp(value);
    if (ip && (!family || ip.family === family)) return ip;
    throw new RangeError(`must be an ${family?.label ?? "IP"} address`);
  };
}

/** Networks, separated by commas. */
export function prefixes(value: string): Prefix[] {
  return value.split(",").map((part) => {
    try {
      return parsePrefix(part.trim());
    } catch {
      throw new RangeError(
        "must be networks with their length, separated by commas, like 10.0.0.0/8,fd00::/8",
      );
    }
  });
}

/** Networks, addresses and host names, separated by commas. */
export function networksAndNames(value: string): (Prefix | string)[] {
  return value.split(",").map((part) => {
    const text = part.trim();
    const ip = tryParseIp(text);
    if (ip) return unmapped(prefixOf(ip, ip.family.bits));
    if (/^(?!\d+(\.\d+)*$)[a-z\d]([a-z\d-]*[a-z\d])?(\.[a-z\d]([a-z\d-]*[a-z\d])?)*\.?$/i.test(text)) {
      return text;
    }
    try {
      return unmapped(parsePrefix(text));
    } catch {
      throw new RangeError(
        "must be networks or host names, separated by commas, like 10.0.0.0/8,node1.example.com",
      );
    }
  });
}

/** `::ffff:10.0.0.0/104` is 10.0.0.0/8: IPv4 clients of an IPv6 socket count as what they are (RFC 4291, 2.5.5.2). */
function unmapped(prefix: Prefix): Prefix {
  const { family, base, length } = prefix;
  if (family !== IPV6 || length < 96 || base >> 32n !== 0xffffn) return prefix;
  return { family: IPV4, base: base & 0xffffffffn, length: length - 96 };
}

/**
 * A regular expression. `(?i)` at its front, Go's way to ignore the case, is understood.
 */
export function pattern(value: string): RegExp {
  const folded = value.startsWith("(?i)");
  try {
    return new RegExp(folded ? value.slice(4) : value, folded ? "i" : "");
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^.*: /, "") : "it can't be read";
    throw new RangeError(`must be a regular expression: ${reason}`);
  }
}

/** etcd's client addresses, separated by commas. */
export function endpoints(value: string): string[] {
  const list = value.split(",").map((part) => part.trim()).filter((part) => part !== "");
  const good = list.length > 0 &&
    list.every((part) => /^(https?:\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s/:@]+)(:\d+)?\/?$/.test(part));
  if (good) return list;
  throw new RangeError(
    value.includes("@")
      ? "must be URLs without a user: -etcd-username and -etcd-password (or FLANNELD_ETCD_PASSWORD) hold it"
      : "must be URLs separated by commas, like http://10.0.0.1:2379,http://10.0.0.2:2379",
  );
}

/** A path of keys in etcd; slashes at its end are dropped. */
export function keyPrefix(value: string): string {
  const trimmed = value.replace(/\/+$/, "");
  if (trimmed !== "") return trimmed;
  throw new RangeError("must be a key prefix like /coreos.com/network");
}

/** `etcd` or `sqlite:/path`. */
export function store(value: string): StoreChoice {
  if (value === "etcd") return { kind: "etcd" };
  const path = /^sqlite:(.+)$/.exec(value)?.[1];
  if (path !== undefined) return { kind: "sqlite", path };
  throw new RangeError("must be etcd or sqlite:/path");
}

/** Seconds in one of Go's duration units (time.ParseDuration). */
const UNITS: Readonly<Record<string, number>> = {
  h: 3600,
  m: 60,
  s: 1,
  ms: 1e-3,
  us: 1e-6,
  "µs": 1e-6,
  ns: 1e-9,
};

/** Whole seconds between `min` and `max`, from a number of seconds or a Go duration like `1h30m`. */
export function seconds(min: number, max: number): (value: string) => number {
  return (value) => {
    const total = /^\d+$/.test(value) ? Number(value) : goDuration(value);
    if (total !== undefined && Number.isInteger(total) && total >= min && total <= max) return total;
    throw new RangeError(`must be whole seconds between ${min} and ${max}, or a duration like 1h30m`);
  };
}

/** Milliseconds between `min` and `max`, from a number of seconds (with a fraction) or a Go duration like `200ms`. */
export function milliseconds(min: number, max: number): (value: string) => number {
  return (value) => {
    const total = /^\d+(\.\d+)?$/.test(value) ? Number(value) : goDuration(value);
    const rounded = total === undefined ? NaN : Math.round(total * 1000);
    if (rounded >= min && rounded <= max) return rounded;
    throw new RangeError(`must be seconds, or a duration like 200ms, between ${min}ms and ${max / 1000}s`);
  };
}

function goDuration(value: string): number | undefined {
  if (!/^(\d+(\.\d+)?(h|m|s|ms|us|µs|ns))+$/.test(value)) return undefined;
  let total = 0;
  for (const [, number, unit] of value.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)/g)) {
    total += Number(number) * UNITS[unit!]!;
  }
  return total;
}
