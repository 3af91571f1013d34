/**
 * The head of an HTTP/1 request (RFC 9112), as far as a server needs it that answers GET and HEAD and closes. Pure.
 *
 * @module
 */

/** What is asked for. */
export interface HttpRequest {
  readonly method: string;
  /** Without the query: `/healthz`. */
  readonly path: string;
  /** What follows the question mark. */
  readonly query: URLSearchParams;
  /** Host and port of an absolute-form target, which count before the Host field (RFC 9112, 3.2.2). */
  readonly authority?: string;
  /** Header fields by their names in small letters; a repeated one's values joined by commas. */
  readonly fields: ReadonlyMap<string, string>;
}

/** A request that can't be answered; the message is for the client. */
export class BadRequestError extends Error {
  override readonly name = "BadRequestError";
  constructor(readonly status: 400 | 505, message: string) {
    super(message);
  }
}

/** tchar of RFC 9110, 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Where the head ends: after the first empty line, or -1 if that has not come yet. */
export function headLength(bytes: Uint8Array): number {
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    const next = bytes[at + 1] === CR ? at + 2 : at + 1;
    if (bytes[next] === LF) return next + 1;
  }
  return -1;
}

const CR = 13, LF = 10;

/**
 * Reads a request's head.
 *
 * @param head Up to and including the empty line.
 * @throws {BadRequestError} If it isn't an HTTP/1 request, or its Host field is missing, doubled or no host (RFC 9112, 3.2).
 */
export function parseRequest(head: Uint8Array): HttpRequest {
  const [first = "", ...fields] = new TextDecoder("latin1").decode(head).trimEnd().split(/\r?\n/);
  const line = /^(\S+) (\S+) HTTP\/(\d)\.(\d)$/.exec(first);
  if (!line || !TOKEN.test(line[1]!)) throw new BadRequestError(400, "not an HTTP request");
  const [, method, target, major, minor] = line;
  if (major !== "1") throw new BadRequestError(505, "only HTTP/1.1 and HTTP/1.0");
  const parsed = parseFields(fields, minor !== "0");
  return { method: method!, ...parseTarget(target!), fields: parsed };
}

function parseFields(lines: readonly string[], needsHost: boolean): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
    if (!TOKEN.test(name)) throw new BadRequestError(400, "a malformed header line");
    const before = fields.get(name);
    const value = line.slice(colon + 1).trim();
    if (before !== undefined && name === "host") throw new BadRequestError(400, ONE_HOST);
    fields.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  const host = fields.get("host");
  if (needsHost && host === undefined) throw new BadRequestError(400, ONE_HOST);
  if (host !== undefined && !AUTHORITY.test(host)) throw new BadRequestError(400, "a malformed Host field");
  return fields;
}

const ONE_HOST = "exactly one Host field is needed";

/** uri-host [ ":" port ] (RFC 3986, 3.2.2); empty is allowed. */
const AUTHORITY = /^(\[[0-9A-Fa-fv:.%~_-]+\]|[\w.~!$&'()*+,;=%-]*)(:\d*)?$/;

/** Of an origin-form (`/x?y`) or absolute-form (`http://host/x`) target. */
function parseTarget(target: string): Pick<HttpRequest, "path" | "query" | "authority"> {
  const split = (text: string) => {
    const [, path, query] = /^([^?#]*)(?:\?([^#]*))?/.exec(text)!;
    return { path: path || "/", query: new URLSearchParams(query) };
  };
  if (target.startsWith("/")) return split(target);
  const absolute = /^https?:\/\/([^/?#]*)([^]*)$/i.exec(target);
  if (!absolute) throw new BadRequestError(400, "the target isn't a path");
  return { ...split(absolute[2]!), authority: absolute[1]! };
}
