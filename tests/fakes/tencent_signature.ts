/**
 * TC3-HMAC-SHA256, the server's side: the signature is computed anew from what arrived.
 *
 * @module
 */
import { type FakeRequest, hex, hmac, sha256Hex } from "./http.ts";

/** Keys that the fake knows. */
export interface TencentKey {
  readonly secret: string;
  /** Of temporary keys. */
  readonly token?: string;
  /** When they were given out; milliseconds since the epoch. */
  readonly since: number;
}

/** A signature may be so old, or so far ahead, in seconds. */
const TOLERANCE = 300;

/** What is wrong with a request's signature, as an error code of the API, or undefined. */
export async function checkTencentSignature(
  { method, url, headers, body }: FakeRequest,
  keys: ReadonlyMap<string, TencentKey>,
  credentialsSince: number,
): Promise<string | undefined> {
  const match =
    /^TC3-HMAC-SHA256 Credential=([^/]+)\/(\d{4}-\d\d-\d\d)\/([a-z]+)\/tc3_request, SignedHeaders=([a-z;-]+), Signature=([0-9a-f]{64})$/
      .exec(headers.get("authorization") ?? "");
  if (!match) return "AuthFailure.InvalidAuthorization";
  const [, id, date, service, signed, signature] = match as unknown as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  const names = signed.split(";");
  if (!names.includes("content-type") || !names.includes("host")) return "AuthFailure.InvalidAuthorization";
  const key = keys.get(id);
  if (!key) return "AuthFailure.SecretIdNotFound";
  const timestamp = headers.get("x-tc-timestamp") ?? "";
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE) return "AuthFailure.SignatureExpire";
  if (new Date(Number(timestamp) * 1000).toISOString().slice(0, 10) !== date) {
    return "AuthFailure.SignatureFailure";
  }
  if (key.token !== undefined && headers.get("x-tc-token") !== key.token) return "AuthFailure.TokenFailure";
  if (key.since < credentialsSince) return "AuthFailure.TokenFailure";
  const lines = names.map((name) => `${name}:${(headers.get(name) ?? "").trim().toLowerCase()}\n`).join("");
  const canonical = [method, url.pathname, url.search.slice(1), lines, signed, await sha256Hex(body)].join(
    "\n",
  );
  const text = ["TC3-HMAC-SHA256", timestamp, `${date}/${service}/tc3_request`, await sha256Hex(canonical)]
    .join("\n");
  let derived = await hmac(`TC3${key.secret}`, date);
  for (const part of [service, "tc3_request"]) derived = await hmac(derived, part);
  return hex(await hmac(derived, text)) === signature ? undefined : "AuthFailure.SignatureFailure";
}
