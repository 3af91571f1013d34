/**
 * Compute Engine's errors, of calls and of operations, by what to do about them.
 *
 * @module
 */
import { messageOf } from "../../lib/errors.ts";
import { CloudError, type CloudErrorKind, connectionCode, deniedError, quoted } from "../cloud/errors.ts";

/** Reasons of refused calls and codes of failed operations; what isn't listed goes by the HTTP status. */
const KINDS: Readonly<Record<string, CloudErrorKind>> = {
  rateLimitExceeded: "throttled",
  userRateLimitExceeded: "throttled",
  RATE_LIMIT_EXCEEDED: "throttled",
  quotaExceeded: "quota",
  QUOTA_EXCEEDED: "quota",
  LIMIT_EXCEEDED: "quota",
  limitExceeded: "quota",
  forbidden: "denied",
  insufficientPermissions: "denied",
  ACCESS_TOKEN_SCOPE_INSUFFICIENT: "denied",
  alreadyExists: "conflict",
  RESOURCE_ALREADY_EXISTS: "conflict",
  RESOURCE_IN_USE_BY_ANOTHER_RESOURCE: "conflict",
  RESOURCE_NOT_READY: "conflict",
  RESOURCE_OPERATION_RATE_EXCEEDED: "throttled",
  resourceNotReady: "conflict",
  resourceInUseByAnotherResource: "conflict",
  authError: "credentials",
  invalid: "config",
  INVALID_FIELD_VALUE: "config",
};

const BY_STATUS: Readonly<Record<number, CloudErrorKind>> = {
  400: "config",
  401: "credentials",
  403: "denied",
  404: "config",
  409: "conflict",
  412: "conflict",
  429: "throttled",
};

function grantIn(project: string): string {
  return `add it to the role of the instance's service account in project ${project}, and give the instance ` +
    `the scope compute-rw (docs/gce.md has both)`;
}

/** What a call or an operation is about. */
export interface CallSubject {
  /** What it needs: `compute.routes.create`. */
  readonly permission: string;
  /** What it is about: `route flannel-10-20-7-0-24`. */
  readonly subject: string;
  readonly project: string;
}

/** What of an error of Google's client is looked at; all of it may be missing. */
interface ClientError {
  readonly status?: number;
  readonly response?: {
    readonly status?: number;
    readonly data?: { readonly error?: { readonly message?: string; readonly errors?: readonly Detail[] } };
  };
}

interface Detail {
  readonly code?: string;
  readonly reason?: string;
  readonly message?: string;
}

/** The error of a refused call. */
export function classifyCall(error: unknown, about: CallSubject): CloudError {
  if (error instanceof CloudError) return error;
  const { status, response } = error as ClientError;
  const connection = response ? undefined : connectionCode(error);
  if (connection) {
    return new CloudError(
      "unavailable",
      `No answer from Compute Engine for ${about.subject}: ${connection}`,
      {
        code: connection,
      },
    );
  }
  const body = response?.data?.error;
  const words = body?.message ?? (messageOf(error));
  return refusal(body?.errors?.[0]?.reason, response?.status ?? status, words, about);
}

/** The error of an operation that ended badly, or undefined if it ended well. */
export function classifyOperation(
  operation: {
    readonly error?: { readonly errors?: readonly Detail[] } | null;
    readonly httpErrorStatusCode?: number | null;
    readonly httpErrorMessage?: string | null;
  },
  about: CallSubject,
): CloudError | undefined {
  const { error, httpErrorStatusCode, httpErrorMessage } = operation;
  if (!error && !httpErrorStatusCode) return undefined;
  const detail = error?.errors?.[0];
  const words = detail?.message ?? httpErrorMessage ?? "the operation failed";
  return refusal(detail?.code, httpErrorStatusCode ?? undefined, words, about);
}

function refusal(
  reason: string | undefined,
  status: number | undefined,
  words: string,
  { permission, subject, project }: CallSubject,
): CloudError {
  const code = reason ?? (status === undefined ? "Unknown" : String(status));
  const kind = (reason !== undefined && KINDS[reason]) || BY_STATUS[status ?? 0] || "unavailable";
  if (kind === "denied") return deniedError(permission, grantIn(project), `${code}: ${words}`);
  return new CloudError(kind, `Compute Engine refused ${subject}: ${code}: ${quoted(words)}`, {
    code: status === 404 ? "notFound" : code,
  });
}
