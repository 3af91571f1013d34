/**
 * The VPC API's error codes, by what to do about them.
 *
 * @module
 */
import { CloudError, type CloudErrorKind, connectionCode, deniedError, quoted } from "../cloud/errors.ts";

/** Codes that begin so are throttling: `Throttling.User`, `Throttling.Api`. */
const THROTTLING = /^Throttling/;

const CONFLICTS = [
  "TaskConflict",
  "OperationConflict",
  "IncorrectRouteEntryStatus",
  "IncorrectVpcStatus",
  "IncorrectVSwitchStatus",
  "IncorrectInstanceStatus",
  "LastTokenProcessing",
];

/** Codes that say that there is an entry for this prefix already. */
export const DUPLICATES: readonly string[] = [
  "InvalidCIDRBlock.Duplicate",
  "RouterEntryConflict.Duplicated",
  "InvalidRouteEntry.Duplicate",
  "Duplicated.VpcNextHop",
  "RouteConflict.AlreadyExist",
];

/** Codes that say that the entry is gone. */
export const GONE: readonly string[] = ["InvalidRouteEntry.NotFound", "InvalidRouteEntryId.NotFound"];

const KINDS: Readonly<Record<string, CloudErrorKind>> = {
  ...Object.fromEntries([...CONFLICTS, ...DUPLICATES, ...GONE].map((code) => [code, "conflict" as const])),
  SystemBusy: "unavailable",
  ServiceUnavailable: "unavailable",
  QuotaExceeded: "quota",
  "QuotaExceeded.RouteEntry": "quota",
  "Forbidden.RAM": "denied",
  NoPermission: "denied",
  "InvalidSecurityToken.Expired": "credentials",
  "InvalidSecurityToken.Malformed": "credentials",
  "InvalidSecurityToken.MismatchWithAccessKey": "credentials",
  "InvalidAccessKeyId.NotFound": "credentials",
  "InvalidAccessKeyId.Inactive": "credentials",
  SignatureDoesNotMatch: "credentials",
  IncompleteSignature: "credentials",
  InvalidTimeStamp: "credentials",
  "InvalidRouteTableId.NotFound": "config",
  "InvalidNextHop.NotFound": "config",
  "InvalidVpcId.NotFound": "config",
  InvalidCidrBlock: "config",
  InvalidCIDRBlock: "config",
};

const GRANT = "add it to the policy of the RAM role or user (docs/ali-vpc.md has the whole policy)";

/** What of an error of Alibaba's client is looked at; all of it may be missing. */
interface ClientError {
  readonly code?: unknown;
  readonly statusCode?: unknown;
  readonly message?: unknown;
  readonly data?: { readonly statusCode?: unknown };
}

/**
 * The error of a call, classified.
 *
 * @param action The call: `CreateRouteEntry`.
 * @param subject What it was about: `10.20.7.0/24 in vtb-1`.
 * @param secrets What must not show, whatever the answer holds.
 */
export function classify(
  error: unknown,
  action: string,
  subject: string,
  secrets: readonly string[],
): CloudError {
  if (error instanceof CloudError) return error;
  const connection = connectionCode(error);
  if (connection) {
    return new CloudError(
      "unavailable",
      `No answer from Alibaba Cloud to ${action} for ${subject}: ${connection}`,
      {
        code: connection,
      },
    );
  }
  const { code, statusCode, data, message } = error as ClientError;
  const name = typeof code === "string" ? code : "Unknown";
  const status = Number(statusCode ?? data?.statusCode ?? 0);
  const words = secrets.reduce(
    (text, secret) => text.replaceAll(secret, "***"),
    quoted(plain(name, String(message))),
  );
  const kind = kindOf(name, status);
  if (kind === "denied") return deniedError(`vpc:${action}`, GRANT, words);
  return new CloudError(kind, `Alibaba Cloud refused ${action} for ${subject}: ${name}: ${words}`, {
    code: name,
  });
}

/** The API's own text: the SDK puts `CODE: code: STATUS, ` before it and ` request id: ID` after it. */
function plain(code: string, message: string): string {
  const words = message.startsWith(`${code}: `) ? message.slice(code.length + 2) : message;
  return words.replace(/^code: \d+, /, "").replace(/ request id: \S+$/i, "");
}

function kindOf(code: string, status: number): CloudErrorKind {
  if (THROTTLING.test(code) || status === 429) return "throttled";
  const known = KINDS[code];
  if (known) return known;
  return code.startsWith("QuotaExceeded") ? "quota" : code.startsWith("Forbidden") ? "denied" : "unavailable";
}
