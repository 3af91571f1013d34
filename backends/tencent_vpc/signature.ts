/**
 * TC3-HMAC-SHA256, the signature of Tencent Cloud's API 3.0.
 *
 * The npm SDK would be 20 MB for the six calls that the backend makes; what they need of it is this file.
 *
 * @see https://www.tencentcloud.com/document/api/215/15693
 * @module
 */
import { createHash, createHmac } from "node:crypto";

/** What is signed. */
export interface SignedCall {
  /** `vpc`. */
  readonly service: string;
  /** The Host header. */
  readonly host: string;
  /** `CreateRoutes`. */
  readonly action: string;
  /** JSON, byte for byte as it is sent. */
  readonly body: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
}

/** The Content-Type of every call; a part of the signature. */
export const CONTENT_TYPE = "application/json; charset=utf-8";

const ALGORITHM = "TC3-HMAC-SHA256";
/** The headers that are signed, in the order of their names. */
const SIGNED_HEADERS = "content-type;host;x-tc-action";

/** The Authorization header of a POST to `/`. */
export function authorizationOf(
  call: SignedCall,
  keys: { readonly id: string; readonly secret: string },
): string {
  const { service, host, action, body, timestamp } = call;
  const date = new Date(timestamp * 1000).toISOString().slice(0, 10);
  const headers = `content-type:${CONTENT_TYPE}\nhost:${host}\nx-tc-action:${action.toLowerCase()}\n`;
  const canonical = ["POST", "/", "", headers, SIGNED_HEADERS, sha256(body)].join("\n");
  const scope = `${date}/${service}/tc3_request`;
  const text = [ALGORITHM, timestamp, scope, sha256(canonical)].join("\n");
  const key = [date, service, "tc3_request"].reduce<string | Uint8Array>(hmac, `TC3${keys.secret}`);
  const signature = hmac(key, text).toString("hex");
  return `${ALGORITHM} Credential=${keys.id}/${scope}, SignedHeaders=${SIGNED_HEADERS}, Signature=${signature}`;
}

function hmac(key: string | Uint8Array, text: string) {
  return createHmac("sha256", key).update(text).digest();
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
