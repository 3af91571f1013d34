/**
 * What can go wrong between a host and its cloud, by the remedy.
 *
 * @module
 */
import { messageOf } from "../../lib/errors.ts";

/**
 * Kind of a cloud's refusal:
 *
 * - `throttled`: too many requests; retried later.
 * - `conflict`: another change is under way, or an answer is behind; retried soon.
 * - `unavailable`: no answer, or one that says that the cloud is at fault; retried later.
 * - `credentials`: expired or missing; new ones are fetched.
 * - `denied`: a permission is missing; somebody must add it, retries notice.
 * - `quota`: the table is full; somebody must make room, retries notice.
 * - `config`: retries don't help.
 */
export type CloudErrorKind =
  | "throttled"
  | "conflict"
  | "unavailable"
  | "credentials"
  | "denied"
  | "quota"
  | "config";

/**
 * A cloud's refusal. The message names the call, the cloud's answer and what would be right.
 *
 * It has no cause: an SDK's error carries the request, and with it tokens.
 */
export class CloudError extends Error {
  override readonly name = "CloudError";
  /** The cloud's own code, where it gave one: `RouteAlreadyExists`. */
  readonly code: string | undefined;
  constructor(
    readonly kind: CloudErrorKind,
    message: string,
    options: { readonly code?: string } = {},
  ) {
    super(message);
    this.code = options.code;
  }
}

/** What a message about a full table says. */
export interface FullTable {
  /** What is full: `route table rtb-0aaa`. */
  readonly what: string;
  /** Routes that count against the limit now. */
  readonly used: number;
  /** The limit, where the cloud shows it. */
  readonly limit: number | undefined;
  /** Where the limit is raised. */
  readonly raise: string;
  /** The cloud's own text. */
  readonly reply: string;
}

/** The error for a table that takes no more routes. */
export function fullTableError(full: FullTable): CloudError {
  const limit = full.limit === undefined ? "that is its limit" : `its limit is ${full.limit}`;
  const routes = full.used === 1 ? "route" : "routes";
  return new CloudError(
    "quota",
    `No room for another route: ${full.what} has ${full.used} ${routes} and ${limit} (${
      quoted(full.reply)
    }). ` +
      `Raise the limit (${full.raise}), remove unused routes, or use the vxlan backend, which needs none`,
  );
}

/** Whether `error` is a cloud's refusal with one of these codes. */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof CloudError && error.code !== undefined && codes.includes(error.code);
}

/** The error for a call that the host's identity may not make. */
export function deniedError(action: string, grant: string, reply: string): CloudError {
  return new CloudError("denied", `Permission ${action} is missing (${quoted(reply)}): ${grant}`);
}

/** A cloud's own text, fit for a log line: one line, not too long. */
export function quoted(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length <= 300 ? line : `${line.slice(0, 297)}...`;
}

/** The config names a table that the host's VPC hasn't. @param present The ids of those that it has. */
export function unknownTableError(id: string, vpcId: string, present: readonly string[]): CloudError {
  const has = present.join(", ") || "none";
  return new CloudError(
    "config",
    `Backend.RouteTableID ${id} isn't a route table of ${vpcId}, this host's VPC: it has ${has}`,
  );
}

/** Any error as a {@link CloudError}: one that no provider has classified counts as `unavailable`. */
export function asCloudError(error: unknown): CloudError {
  return error instanceof CloudError ? error : new CloudError("unavailable", quoted(messageOf(error)));
}

/** Node's and Deno's codes for a connection that wasn't made or broke: nothing is wrong with the request. */
const CONNECTION_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "ENETDOWN",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EPIPE",
  "ETIMEDOUT",
  "ESOCKETTIMEDOUT",
]);

/** The code of a broken connection in `error` or its causes, or undefined if it is none. */
export function connectionCode(error: unknown): string | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const code = (at as { code?: unknown }).code;
    if (typeof code === "string" && CONNECTION_CODES.has(code)) return code;
    if (at.name === "TimeoutError") return "ETIMEDOUT";
  }
  return undefined;
}
