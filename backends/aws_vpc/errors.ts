/**
 * EC2's error codes, by what to do about them.
 *
 * @module
 */
import { messageOf } from "../../lib/errors.ts";
import { CloudError, type CloudErrorKind, connectionCode, deniedError, quoted } from "../cloud/errors.ts";

/** EC2's code for a route that isn't there; also used where EC2 says it in words only. */
export const NO_SUCH_ROUTE = "InvalidRoute.NotFound";

/** Codes and their kinds; what isn't listed goes by the HTTP status. */
const KINDS: Readonly<Record<string, CloudErrorKind>> = {
  RequestLimitExceeded: "throttled",
  Throttling: "throttled",
  ThrottlingException: "throttled",
  ThrottledException: "throttled",
  RequestThrottled: "throttled",
  RequestThrottledException: "throttled",
  EC2ThrottledException: "throttled",
  SlowDown: "throttled",
  UnauthorizedOperation: "denied",
  AccessDenied: "denied",
  AccessDeniedException: "denied",
  AuthFailure: "credentials",
  InvalidClientTokenId: "credentials",
  SignatureDoesNotMatch: "credentials",
  RequestExpired: "credentials",
  ExpiredToken: "credentials",
  ExpiredTokenException: "credentials",
  CredentialsProviderError: "credentials",
  TokenProviderError: "credentials",
  RouteLimitExceeded: "quota",
  RouteAlreadyExists: "conflict",
  [NO_SUCH_ROUTE]: "conflict",
  IncorrectState: "conflict",
  "InvalidRouteTableID.NotFound": "config",
  "InvalidRouteTableId.Malformed": "config",
  "InvalidRouteTableID.Malformed": "config",
  "InvalidNetworkInterfaceID.NotFound": "config",
  "InvalidNetworkInterfaceId.Malformed": "config",
  // The id is the metadata service's: EC2 just doesn't know a new instance yet.
  "InvalidInstanceID.NotFound": "conflict",
  "InvalidInstanceID.Malformed": "config",
  InvalidParameterValue: "config",
  InvalidParameterCombination: "config",
};

const GRANT = "add it to the policy of the instance's role (docs/aws-vpc.md has the whole policy)";

/** The code that EC2 gave, or the name of the client's own error. */
function codeOf(error: unknown): string {
  return error instanceof Error ? error.name : "Unknown";
}

/** The answer's HTTP status, or undefined if there was none. */
function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}

/**
 * The error of a call, classified.
 *
 * @param action The call: `CreateRoute`.
 * @param subject What it was about, for the message: `10.20.7.0/24 in rtb-0aaa`.
 */
export function classify(error: unknown, action: string, subject: string): CloudError {
  const code = codeOf(error);
  const status = statusOf(error);
  // The same refusal reads differently each time otherwise.
  const words = quoted(messageOf(error).replace(/\s*Encoded authorization failure message: \S+/, ""));
  const connection = connectionCode(error);
  if (connection) {
    return new CloudError("unavailable", `No answer from EC2 to ${action} for ${subject}: ${connection}`, {
      code: connection,
    });
  }
  if (code === "InvalidParameterValue" && /no route defined/i.test(words)) {
    // ReplaceRoute has no other code for this; only its text distinguishes it from a bad parameter.
    return new CloudError("conflict", `EC2 has no route ${subject} to replace`, { code: NO_SUCH_ROUTE });
  }
  const kind = KINDS[code] ?? (status === 429 ? "throttled" : status === 403 ? "denied" : "unavailable");
  if (kind === "denied") return deniedError(`ec2:${action}`, GRANT, `${code}: ${words}`);
  const hint = kind === "credentials" ? `; ${credentialsHint(code)}` : routeHint(code, action);
  return new CloudError(kind, `EC2 refused ${action} for ${subject}: ${code}: ${words}${hint}`, { code });
}

function routeHint(code: string, action: string): string {
  if (code !== "InvalidParameterValue" || action !== "CreateRoute") return "";
  return "; the config's Network must not overlap the VPC's own ranges";
}

function credentialsHint(code: string): string {
  if (code === "CredentialsProviderError") {
    return "give the instance a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
  }
  if (code === "RequestExpired") return "if it stays so, check this host's clock";
  return `if it stays so, check the keys, and the permission to call EC2 with them`;
}
