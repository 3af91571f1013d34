/**
 * The two address families as values.
 *
 * Code that deals with addresses takes a {@link Family} (or data that carries one) instead of branching on
 * a version number; what differs between IPv4 and IPv6 stands in this table.
 *
 * @module
 */

/** Name of an address family; also the key of everything that is kept once per family. */
export type FamilyName = "ipv4" | "ipv6";

/** What differs between the families. */
export interface Family {
  /** Key for {@link PerFamily} values. */
  readonly name: FamilyName;
  /** Version number as it stands in the IP header. */
  readonly version: 4 | 6;
  /** AF_INET or AF_INET6 (linux/socket.h). */
  readonly af: 2 | 10;
  /** Length of an address in bits. */
  readonly bits: 32 | 128;
  /** Length of an address in bytes. */
  readonly bytes: 4 | 16;
  /** Length of the family's IP header without options or extension headers, in bytes. */
  readonly headerBytes: 20 | 40;
  /** How people write the family. */
  readonly label: "IPv4" | "IPv6";
}

/** IPv4. */
export const IPV4: Family = {
  name: "ipv4",
  version: 4,
  af: 2,
  bits: 32,
  bytes: 4,
  headerBytes: 20,
  label: "IPv4",
};

/** IPv6. */
export const IPV6: Family = {
  name: "ipv6",
  version: 6,
  af: 10,
  bits: 128,
  bytes: 16,
  headerBytes: 40,
  label: "IPv6",
};

/** Both families, IPv4 first: the order of files, keys and logs. */
export const FAMILIES: readonly Family[] = [IPV4, IPV6];

/** A value for each family that is in use. */
export type PerFamily<T> = { readonly [name in FamilyName]?: T };

/**
 * A {@link PerFamily} value of these two. Each form is a literal of its own: an object that gets its fields one by one
 * has room for four, and large networks have several for each peer.
 */
export function bothFamilies<T>(ipv4: T | undefined, ipv6: T | undefined): PerFamily<T> {
  if (ipv6 === undefined) return ipv4 === undefined ? {} : { ipv4 };
  return ipv4 === undefined ? { ipv6 } : { ipv4, ipv6 };
}

/** The family with the given AF_ number, or undefined for any other protocol family. */
export function familyOfAf(af: number): Family | undefined {
  return FAMILIES.find((family) => family.af === af);
}

/** The families for which `values` holds something, in the order of {@link FAMILIES}. */
export function familiesOf(values: PerFamily<unknown>): Family[] {
  return FAMILIES.filter((family) => values[family.name] !== undefined);
}

/** Builds a {@link PerFamily} value; families for which `make` gives undefined are left out. */
export function perFamily<T>(
  families: readonly Family[],
  make: (family: Family) => T | undefined,
): PerFamily<T> {
  const result: { -readonly [name in FamilyName]?: T } = {};
  for (const family of families) {
    const value = make(family);
    if (value !== undefined) result[family.name] = value;
  }
  return result;
}
