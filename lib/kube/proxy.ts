/**
 * Which proxy the API server is reached through, if any, by the rules of client-go: a kubeconfig's proxy-url, else the
 * environment as Go's net/http reads it.
 *
 * @module
 */
import { tryParseIp } from "../net/ip.ts";
import { containsIp, parsePrefix, tryParsePrefix } from "../net/prefix.ts";
import { AccessError } from "./access.ts";

/** What a proxy may speak, with its default port. */
const DEFAULT_PORTS: Readonly<Record<string, number>> = {
  "http:": 80,
  "https:": 443,
  "socks5:": 1080,
  "socks5h:": 1080,
};

/** The port of a proxy's URL. */
export function proxyPort(proxy: URL): number {
  return Number(proxy.port || DEFAULT_PORTS[proxy.protocol]);
}

/** A proxy for messages, without its password. */
export function describeProxy(proxy: URL): string {
  return `${proxy.protocol}//${proxy.hostname}:${proxyPort(proxy)}`;
}

/**
 * A proxy's URL.
 *
 * @param source Where it stands, for messages.
 * @throws {AccessError} If it can't be one. Its text is not quoted: it may hold a password.
 */
export function parseProxy(text: string, source: string): URL {
  // As Go: what names no scheme, or has no host after it, is an HTTP proxy's host and port.
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined;
  if (url?.hostname && url.protocol in DEFAULT_PORTS && isEncoded(url)) return url;
  const scheme = url?.protocol.slice(0, -1) ?? "";
  const what = url && !(url.protocol in DEFAULT_PORTS) ? ` of scheme ${JSON.stringify(scheme)}` : "";
  throw new AccessError(
    `${source}: the proxy${what} can't be used; it must be a URL like http://192.0.2.1:3128, with http, https or socks5`,
  );
}

/** Whether user and password can be decoded: a `%` in one must be `%25`. */
function isEncoded({ username, password }: URL): boolean {
  return !/%(?![0-9a-f]{2})/i.test(username + password);
}

/**
 * The proxy that the environment names for a server: HTTPS_PROXY or HTTP_PROXY by its scheme, unless NO_PROXY has it.
 * The loopback is never reached through one. Names in upper case go before those in lower case.
 *
 * @throws {AccessError} If the variable can't be a proxy.
 */
export function proxyFromEnvironment(
  server: URL,
  env: (name: string) => string | undefined,
): URL | undefined {
  const name = server.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY";
  const either = (variable: string) => env(variable) || env(variable.toLowerCase()) || "";
  const text = either(name).trim();
  if (text === "" || !needsProxy(server, either("NO_PROXY"))) return undefined;
  return parseProxy(text, name);
}

/**
 * Whether NO_PROXY leaves a server to the proxy. Its entries, by commas: `*`; a CIDR; an address or a name, with or
 * without port. A name stands for those below it, too; with a dot or `*.` before it, only for those below it.
 */
function needsProxy(server: URL, noProxy: string): boolean {
  const host = server.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "").toLowerCase();
  const port = server.port || (server.protocol === "https:" ? "443" : "80");
  const ip = tryParseIp(host);
  if (host === "localhost" || (ip && LOOPBACK.some((prefix) => containsIp(prefix, ip)))) return false;
  return !noProxy.split(",").map((entry) => entry.trim().toLowerCase()).some((entry) => {
    if (entry === "" || entry === "*") return entry === "*";
    const prefix = tryParsePrefix(entry);
    if (prefix) return ip !== undefined && containsIp(prefix, ip);
    const { name, port: only } = splitPort(entry);
    if (only !== "" && only !== port) return false;
    const address = tryParseIp(name);
    if (address) return ip !== undefined && ip.family === address.family && ip.value === address.value;
    const suffix = name.replace(/^\*(?=\.)/, "");
    if (suffix === "") return false;
    return suffix.startsWith(".") ? host.endsWith(suffix) : host === suffix || host.endsWith(`.${suffix}`);
  });
}

const LOOPBACK = [parsePrefix("127.0.0.0/8"), parsePrefix("::1/128")];

/** `host:port`, `[address]:port`, or either without a port. An IPv6 address without brackets has none. */
function splitPort(entry: string): { name: string; port: string } {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?$/.exec(entry);
  if (!match) return { name: entry, port: "" };
  return { name: match[1] ?? match[2] ?? "", port: match[3] ?? "" };
}
