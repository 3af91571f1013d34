/**
 * What nft prints with -j, read with care: versions differ, and what nft has no JSON for it prints as plain text in
 * the place of an object.
 *
 * @module
 */

/** A JSON object as nft prints it. */
export type NftObject = Readonly<Record<string, unknown>>;

/** One printed thing by its kind: a table, a chain, a rule, a set. */
export type NftItem = Readonly<Record<string, NftObject | undefined>>;

/**
 * The things that nft printed. The `expr` of every rule is a list of objects: a statement that nft printed as text,
 * as it does for those without a JSON form, is `{ text: … }`.
 *
 * @throws {SyntaxError} If it isn't JSON, or not nft's.
 */
export function parseListing(listing: string): NftItem[] {
  const { nftables } = objectOf(JSON.parse(listing));
  if (nftables === undefined || nftables === null) return [];
  if (!Array.isArray(nftables)) throw new SyntaxError('no list "nftables" in what nft printed');
  return nftables.map((item) =>
    Object.fromEntries(
      Object.entries(objectOf(item)).map(([kind, value]) => {
        const object = objectOf(value);
        return [kind, kind === "rule" ? { ...object, expr: statements(object["expr"]) } : object];
      }),
    )
  );
}

function statements(expr: unknown): NftObject[] {
  if (!Array.isArray(expr)) return [];
  return expr.map((one) => typeof one === "string" ? { text: one } : objectOf(one));
}

/** The value if it is an object, else an empty one. */
export function objectOf(value: unknown): NftObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as NftObject : {};
}
