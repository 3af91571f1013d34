/**
 * What gRPC's and etcd's errors mean: whether to try elsewhere, to log in again, or to give up.
 *
 * @module
 */

/** A call's outcome that isn't an answer. */
export class CallError extends Error {
  override readonly name = "CallError";

  /**
   * @param code Status code (gRPC, "Status codes and their use").
   * @param details What the server said, or what became of the connection.
   */
  constructor(readonly code: number, readonly details: string) {
    super(details);
  }
}

/**
 * `endpoint`: another endpoint, or this one later, may answer. `fatal`: waiting doesn't help. `token`: the
 * session has ended, log in again. `anonymous`: etcd wants a login. `compacted`: the revision is gone. `future`:
 * the revision is yet to come. `request`: etcd refused the request.
 */
export type FaultKind = "endpoint" | "fatal" | "token" | "anonymous" | "compacted" | "future" | "request";

/** An error, classified. */
export interface Fault {
  readonly kind: FaultKind;
  /** Cause without the endpoint. */
  readonly cause: string;
}

/** gRPC status codes that say something of the endpoint or the way to it, not of the request. */
const ENDPOINT_CODES = new Set([
  1, // CANCELLED
  2, // UNKNOWN
  4, // DEADLINE_EXCEEDED
  12, // UNIMPLEMENTED: something else than etcd answers
  13, // INTERNAL
  14, // UNAVAILABLE: also etcd's "no leader", "request timed out"
]);

/** etcd's own sentences (etcd, api/v3rpc/rpctypes/error.go), which say more than the code. */
const SENTENCES: readonly (readonly [RegExp, FaultKind, string?])[] = [
  [/required revision has been compacted/, "compacted"],
  [/required revision is a future revision/, "future"],
  [/invalid auth token/, "token"],
  // A JWT names the revision of users and roles at which it was made; any change of them makes it old.
  [/revision (of auth store|in header) is old/, "token"],
  // etcd gives one error for a watch whose session has ended and for one that isn't permitted.
  [/^watch refused: .*permission denied/, "token"],
  [
    /authentication failed/,
    "fatal",
    "authentication failed: wrong user or password (-etcd-username, -etcd-password)",
  ],
  [/user name is empty/, "anonymous", "etcd wants a user: set -etcd-username and -etcd-password"],
  [/user name not found/, "fatal", "etcd has no such user (-etcd-username)"],
  [
    /permission denied/,
    "fatal",
    "permission denied: this user may not read and write the prefix (-etcd-prefix)",
  ],
];

/** Causes that stand in the connection's error, where waiting won't help. */
const TLS_CAUSES: readonly (readonly [RegExp, string])[] = [
  [
    /ALTNAME_INVALID.*?altnames: (.*)$/,
    "the server's certificate is for other names: $1",
  ],
  // The server's word for it may also be lost with the connection: then it is a broken pipe.
  [
    /fatal alert: (\w*Certificate\w*|UnknownCA|AccessDenied)/,
    "the server refuses our client certificate ($1): -etcd-certfile, -etcd-keyfile",
  ],
  [/CERT_HAS_EXPIRED|certificate has expired/i, "the server's certificate has expired"],
  [
    /unable to (?:verify|get)|self.signed|UNKNOWN_?ISSUER|unknown authority/i,
    "the server's certificate is signed by an unknown authority: give its CA with -etcd-cafile",
  ],
  [
    /before secure TLS connection was established|wrong version number|WRONG_VERSION/i,
    "no TLS answer: is this an http:// endpoint?",
  ],
];

/** Classifies an error of a call to an endpoint. */
export function classify(error: Pick<CallError, "code" | "details">): Fault {
  for (const [pattern, kind, cause] of SENTENCES) {
    if (pattern.test(error.details)) return { kind, cause: cause ?? error.details };
  }
  if (!ENDPOINT_CODES.has(error.code)) return { kind: "request", cause: error.details };
  for (const [pattern, cause] of TLS_CAUSES) {
    const match = pattern.exec(error.details);
    if (match) return { kind: "fatal", cause: cause.replace("$1", match[1] ?? "") };
  }
  return { kind: "endpoint", cause: connectionCause(error.details) };
}

/** What people need of a connection's error. */
function connectionCause(details: string): string {
  if (/ECONNREFUSED/.test(details)) return "connection refused";
  if (/^Deadline exceeded/.test(details)) return "no answer in time";
  // We end streams that way, to connect anew.
  if (/^Cancelled on client/.test(details)) return "the connection was given up";
  if (/ECONNRESET|EPIPE|socket hang up/.test(details)) {
    return `${details}: the server closed the connection (does it want https:// or a client certificate?)`;
  }
  return details;
}
