/**
 * The VPC API's error codes, by the remedy.
 *
 * Codes are dotted: where the whole isn't listed, the part before the dot decides.
 *
 * @see https://www.tencentcloud.com/document/api/215/34853
 * @module
 */
import { CloudError, type CloudErrorKind, deniedError, quoted } from "../cloud/errors.ts";

/** Codes that say that the table has an entry for this prefix already. */
export const DUPLICATES: readonly string[] = [
  "InvalidParameterValue.Duplicate",
  "UnsupportedOperation.Ecmp",
  "UnsupportedOperation.EcmpWithUserRoute",
];

/** Codes that say that the entry is gone. */
export const GONE: readonly string[] = ["InvalidRouteId.NotFound", "ResourceNotFound"];

const KINDS: Readonly<Record<string, CloudErrorKind>> = {
  ...Object.fromEntries([...DUPLICATES, ...GONE].map((code) => [code, "conflict" as const])),
  "OperationDenied.MutexTaskRunning": "conflict",
  "UnsupportedOperation.MutexOperationTaskRunning": "conflict",
  "UnsupportedOperation.IdempotentProcessing": "conflict",
  ResourceInUse: "conflict",
  RequestLimitExceeded: "throttled",
  "LimitExceeded.ActionLimited": "throttled",
  LimitExceeded: "quota",
  UnauthorizedOperation: "denied",
  "AuthFailure.UnauthorizedOperation": "denied",
  OperationDenied: "denied",
  AuthFailure: "credentials",
  InvalidParameter: "config",
  InvalidParameterValue: "config",
  InvalidRouteTableId: "config",
  InvalidVpcId: "config",
  MissingParameter: "config",
  UnknownParameter: "config",
  UnsupportedOperation: "config",
  UnsupportedRegion: "config",
};

const GRANT = "add it to the policy of the CAM role or user (docs/tencent-vpc.md has the whole policy)";

/** What the API answers instead of a result. */
export interface ApiError {
  readonly Code?: unknown;
  readonly Message?: unknown;
}

/**
 * A refused call, classified.
 *
 * @param action The call: `CreateRoutes`.
 * @param subject What it was about: `10.20.7.0/24 in rtb-1`.
 * @param secrets What must not show, whatever the answer holds.
 */
export function classify(
  error: ApiError,
  action: string,
  subject: string,
  secrets: readonly string[],
): CloudError {
  const code = typeof error.Code === "string" ? error.Code : "Unknown";
  const reply = secrets.reduce(
    (text, secret) => text.replaceAll(secret, "***"),
    quoted(String(error.Message ?? "")),
  );
  const kind = KINDS[code] ?? KINDS[code.split(".")[0]!] ?? "unavailable";
  if (kind === "denied") return deniedError(`vpc:${action}`, GRANT, `${code}: ${reply}`);
  return new CloudError(
    kind,
    `Tencent Cloud refused ${action} for ${subject}: ${code}: ${reply}${hintFor(code, kind)}`,
    { code },
  );
}

function hintFor(code: string, kind: CloudErrorKind): string {
  if (code === "AuthFailure.SignatureExpire") return "; check this host's clock";
  if (code === "InvalidParameterValue.VpcCidrConflict") {
    return "; the config's Network must not overlap the VPC's own range";
  }
  return kind === "credentials" ? "; if it stays so, check the keys" : "";
}
