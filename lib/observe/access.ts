/**
 * Who may read what the daemon knows of its network over HTTP. Pure.
 *
 * Two things are looked at. Where the request comes from: this host, or a network that -web-allow names. And for whom:
 * a browser on this host sends requests for every page that it shows, also for one of a stranger whose name resolves
 * to 127.0.0.1 (DNS rebinding). Such a request carries the stranger's name in Host, or its page in Origin, or says
 * itself that it comes from another site (Sec-Fetch-Site, https://www.w3.org/TR/fetch-metadata/).
 *
 * @module
 */
import { type Ip, sameIp, tryParseIp } from "../net/ip.ts";
import { containsIp, type Prefix } from "../net/prefix.ts";
import type { HttpClient } from "./http_connection.ts";
import type { HttpRequest } from "./http_request.ts";

/** What is allowed. */
export interface AccessPolicy {
  /** Networks of clients, and names by which they may call this host: what -web-allow holds. */
  readonly allowed: readonly (Prefix | string)[];
  /** The addresses of this host now. */
  ownAddresses(): readonly string[];
  /** What this host calls itself. */
  ownName(): string;
}

/** Why a request is refused, for the client; undefined where it is allowed. */
export function refusalOf(
  request: HttpRequest,
  client: HttpClient,
  policy: AccessPolicy,
): string | undefined {
  const { fields } = request;
  if (!isAllowedClient(client, policy)) {
    return "this answers to the host itself only: start flanneld with -web-allow CIDR for more";
  }
  // A program that sends no Host is no browser.
  for (const authority of [request.authority, fields.get("host")]) {
    if (authority !== undefined && authority !== "" && !isOwnHost(authority, client, policy)) {
      return "the Host field names another host: use this host's address, or start flanneld with -web-allow NAME";
    }
  }
  if (isForeignPage(request)) return "the request comes from another site's page";
  return undefined;
}

function isAllowedClient({ remote, local }: HttpClient, policy: AccessPolicy): boolean {
  const ip = remote === undefined ? undefined : parseHost(remote);
  if (!ip) return false;
  return isOwnAddress(ip, local, policy) || isAllowedIp(ip, policy);
}

function isOwnHost(authority: string, { local }: HttpClient, policy: AccessPolicy): boolean {
  const host = authority.replace(/:\d*$/, "").replace(/^\[(.*)\]$/, "$1");
  const ip = parseHost(host);
  if (ip) return isOwnAddress(ip, local, policy) || isAllowedIp(ip, policy);
  const name = nameOf(host);
  const own = nameOf(policy.ownName());
  const names = ["localhost", own, own.split(".")[0]!];
  for (const allowed of policy.allowed) if (typeof allowed === "string") names.push(nameOf(allowed));
  return name !== "" && names.includes(name);
}

/** Names don't distinguish capitals, and may end in a dot. */
function nameOf(host: string): string {
  return host.toLowerCase().replace(/\.$/, "");
}

/** @param local The address that the client used: one of this host. */
function isOwnAddress(ip: Ip, local: string | undefined, policy: AccessPolicy): boolean {
  if (isLoopback(ip)) return true;
  const isIt = (text: string) => sameIp(parseHost(text), ip);
  return (local !== undefined && isIt(local)) || policy.ownAddresses().some(isIt);
}

function isAllowedIp(ip: Ip, { allowed }: AccessPolicy): boolean {
  return allowed.some((one) => typeof one !== "string" && containsIp(one, ip));
}

/** 127.0.0.0/8 and ::1. */
function isLoopback({ family, value }: Ip): boolean {
  return family.bits === 32 ? value >> 24n === 127n : value === 1n;
}

/** An address as sockets and Host fields have it: with a zone, or an IPv4 one as a part of IPv6 (RFC 4291, 2.5.5.2). */
function parseHost(text: string): Ip | undefined {
  // IPv4 has no zones: what has one isn't an address.
  const bare = text.replace(/^(.*:.*)%.*$/, "$1");
  return tryParseIp(/^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1] ?? bare);
}

/**
 * Whether a page of another site sends this. Following a link from there is no reading by that page; it shows a
 * document in a tab of its own, and a stream of events that never ends is none.
 */
function isForeignPage({ fields, path }: HttpRequest): boolean {
  const origin = fields.get("origin");
  if (origin !== undefined && !isSameOrigin(origin, fields.get("host"))) return true;
  const site = fields.get("sec-fetch-site");
  const isForeign = site !== undefined && site !== "same-origin" && site !== "none";
  const isLink = fields.get("sec-fetch-mode") === "navigate" && path !== "/events" &&
    (fields.get("sec-fetch-dest") ?? "document") === "document";
  return isForeign && !isLink;
}

/** Behind a proxy the page may have come by https. */
function isSameOrigin(origin: string, host: string | undefined): boolean {
  const authority = /^https?:\/\/([^/]+)$/i.exec(origin)?.[1];
  return authority !== undefined && host !== undefined && authority.toLowerCase() === host.toLowerCase();
}
