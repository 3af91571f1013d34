/**
 * Signature version 4, the server's side: the signature is computed anew from what arrived.
 *
 * @module
 */
import { type FakeRequest, hex, hmac, rfc3986, sha256Hex } from "./http.ts";

/** Keys that the fake knows. */
export interface AwsKey {
  readonly secret: string;
  /** Of temporary keys. */
  readonly token?: string;
  /** When they were given out; milliseconds since the epoch. */
  readonly since: number;
}

/** What is wrong with a request's signature, as an EC2 error code, or undefined. */
export async function checkAwsSignature(
  request: FakeRequest,
  keys: ReadonlyMap<string, AwsKey>,
  credentialsSince: number,
): Promise<string | undefined> {
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/ec2\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/
      .exec(request.headers.get("authorization") ?? "");
  if (!match) return "MissingAuthenticationToken";
  const [, id, day, region, signed, signature] = match as unknown as string[];
  const key = keys.get(id!);
  if (!key) return "AuthFailure";
  if (key.token !== undefined && request.headers.get("x-amz-security-token") !== key.token) {
    return "AuthFailure";
  }
  if (key.since < credentialsSince) return "RequestExpired";
  const date = request.headers.get("x-amz-date") ?? "";
  const canonical = [
    request.method,
    request.url.pathname,
    [...request.url.searchParams].map(([k, v]) => `${rfc3986(k)}=${rfc3986(v)}`).sort().join("&"),
    ...signed!.split(";").map((name) => `${name}:${request.headers.get(name)?.trim()}`),
    "",
    signed,
    await sha256Hex(request.body),
  ].join("\n");
  const scope = `${day}/${region}/ec2/aws4_request`;
  const text = ["AWS4-HMAC-SHA256", date, scope, await sha256Hex(canonical)].join("\n");
  let derived = await hmac(`AWS4${key.secret}`, day!);
  for (const part of [region!, "ec2", "aws4_request"]) derived = await hmac(derived, part);
  return hex(await hmac(derived, text)) === signature ? undefined : "SignatureDoesNotMatch";
}
