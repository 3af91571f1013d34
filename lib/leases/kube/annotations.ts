/**
 * What flannel writes on a Node, name by name and byte for byte as the original does.
 *
 * @module
 */
import { formatIp } from "../../net/ip.ts";
import type { LeaseAttributes } from "../types.ts";

/** The annotations' names without their prefix. */
export const ANNOTATIONS = {
  /** `true` on every Node that has a lease. */
  managed: "kube-subnet-manager",
  backendType: "backend-type",
  backendData: "backend-data",
  backendV6Data: "backend-v6-data",
  publicIp: "public-ip",
  publicIpv6: "public-ipv6",
  /** Set by people: what other hosts dial, whatever the interface's address is. */
  publicIpOverwrite: "public-ip-overwrite",
  publicIpv6Overwrite: "public-ipv6-overwrite",
  /** Set by people: stands for -public-ip and -public-ipv6. */
  nodePublicIp: "node-public-ip",
  nodePublicIpv6: "node-public-ipv6",
} as const;

/** Annotations that belong to the host itself; null: remove it. */
export type AnnotationValues = Readonly<Record<string, string | null>>;

/** A lower-case domain with a dot, a slash, and perhaps the beginning of a name that ends in a dash. */
const PREFIX = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+\/([a-z0-9_-]*-)?$/;

/**
 * The prefix that goes before each name: `example.com` gives `example.com/`, `example.com/x` gives `example.com/x-`.
 *
 * @throws {RangeError} With the rule as message.
 */
export function annotationPrefix(option: string): string {
  const withSlash = option.includes("/") ? option : `${option}/`;
  const prefix = /[/-]$/.test(withSlash) ? withSlash : `${withSlash}-`;
  if (PREFIX.test(prefix)) return prefix;
  throw new RangeError(
    "must be a domain in lower case, like flannel.example.com, or with the beginning of a name, like example.com/x",
  );
}

/**
 * The annotations that say what a host publishes.
 *
 * @param overwrites Addresses that people set on the Node: they are published in place of the host's own.
 */
export function annotationsOf(
  { publicIps, backendType, backendData }: LeaseAttributes,
  overwrites: { readonly ipv4?: string | undefined; readonly ipv6?: string | undefined } = {},
): AnnotationValues {
  const { ipv4, ipv6 } = publicIps;
  return {
    [ANNOTATIONS.managed]: "true",
    [ANNOTATIONS.backendType]: backendType ?? "",
    // A family that is off says nothing; one whose backend has nothing to say says null, as in Go.
    [ANNOTATIONS.backendData]: ipv4 ? JSON.stringify(backendData.ipv4 ?? null) : null,
    [ANNOTATIONS.backendV6Data]: ipv6 ? JSON.stringify(backendData.ipv6 ?? null) : null,
    [ANNOTATIONS.publicIp]: ipv4 ? overwrites.ipv4 || formatIp(ipv4) : null,
    [ANNOTATIONS.publicIpv6]: ipv6 ? overwrites.ipv6 || formatIp(ipv6) : null,
  };
}

/**
 * What has to change on a Node.
 *
 * @param current The Node's annotations with our prefix.
 * @returns The names with prefix and their new values (null: to be removed); undefined where all is right.
 */
export function annotationChanges(
  wanted: AnnotationValues,
  current: Readonly<Record<string, string>>,
  prefix: string,
): AnnotationValues | undefined {
  const changes = Object.entries(wanted)
    .map(([name, value]) => [prefix + name, value] as const)
    .filter(([name, value]) => (current[name] ?? null) !== value);
  return changes.length === 0 ? undefined : Object.fromEntries(changes);
}
