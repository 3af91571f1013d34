/**
 * A socket to the API server: straight or through a proxy, with TLS where the server's URL says so.
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import net, { isIP, type Socket } from "node:net";
import tls from "node:tls";
import { type ApiAccess, readText } from "./access.ts";
import { proxyPort } from "./proxy.ts";
import { openTunnel } from "./tunnel.ts";

/** How long one address of the server may take to connect, proxy and TLS included, in milliseconds. */
const CONNECT_MS = 3_000;

/** What is offered to a server that speaks TLS (ALPN). */
const PROTOCOLS = ["h2", "http/1.1"];
export const HTTP1_ONLY = ["http/1.1"];

/** What would be the server's, in the options for a proxy. */
const PROXY_TLS = { ALPNProtocols: HTTP1_ONLY, servername: undefined, checkServerIdentity: undefined };

/** The proxy that takes whole requests and needs no tunnel: an HTTP proxy for a server without TLS. */
export function forwardingProxy({ server, proxy }: ApiAccess): URL | undefined {
  return server.protocol === "http:" && proxy && !proxy.protocol.startsWith("socks5") ? proxy : undefined;
}

/**
 * Connects to the first address of the server, or its proxy, that answers; of several the order is by chance, so that
 * hosts spread over the servers behind one name.
 *
 * @throws {Error} That names each address and why it failed. @throws {AccessError} If a certificate can't be read.
 */
export async function openSocket(
  access: ApiAccess,
  signal: AbortSignal,
  protocols: readonly string[] = PROTOCOLS,
): Promise<Socket> {
  const { server, proxy } = access;
  const secure = server.protocol === "https:" ? await tlsOptions(access, protocols) : undefined;
  const name = hostOf(proxy ?? server);
  const failures: string[] = [];
  for (const { address } of shuffled(await lookup(name, { all: true }))) {
    signal.throwIfAborted();
    const attempt = new Attempt(signal);
    try {
      return await attempt.finish(open(access, address, { attempt, secure }));
    } catch (error) {
      signal.throwIfAborted();
      failures.push(`${address}: ${(error as Error).message}`);
    }
  }
  throw new Error(failures.join("; "));
}

/** @param address Of the proxy where there is one, else of the server. */
async function open(
  access: ApiAccess,
  address: string,
  { attempt, secure }: { readonly attempt: Attempt; readonly secure: tls.ConnectionOptions | undefined },
): Promise<Socket> {
  const { server, proxy } = access;
  const port = Number(server.port || (secure ? 443 : 80));
  if (!proxy) {
    const to = { host: address, port };
    return secure
      ? await attempt.connected(tls.connect({ ...secure, ...to }), "secureConnect")
      : await attempt.connected(net.connect(to), "connect");
  }
  const to = { host: address, port: proxyPort(proxy) };
  // As client-go: a proxy with TLS is trusted by the same CA as the server.
  const socket = proxy.protocol === "https:"
    ? await attempt.connected(
      tls.connect({ ...secure, ...to, ...PROXY_TLS, ...identity(hostOf(proxy)) }),
      "secureConnect",
    )
    : await attempt.connected(net.connect(to), "connect");
  if (forwardingProxy(access)) return socket;
  await openTunnel(socket, proxy, { host: hostOf(server), port });
  return secure ? await attempt.connected(tls.connect({ ...secure, socket }), "secureConnect") : socket;
}

/** One address, until it leads to the server: a time limit over all steps, and what was opened on the way. */
class Attempt {
  readonly #signal: AbortSignal;
  readonly #sockets: Socket[] = [];

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Waits until a socket stands. */
  async connected(socket: Socket, event: "connect" | "secureConnect"): Promise<Socket> {
    this.#sockets.push(socket);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once(event, resolve);
    socket.once("error", reject);
    await promise;
    return socket;
  }

  /** What the steps give; all is closed if they fail, take too long, or the signal fires. */
  async finish(steps: Promise<Socket>): Promise<Socket> {
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error(`no answer in ${CONNECT_MS / 1000} s`)), CONNECT_MS);
    const onAbort = () => reject(this.#signal.reason);
    this.#signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.race([steps, promise]);
    } catch (error) {
      for (const socket of this.#sockets) socket.on("error", () => {}).destroy();
      steps.catch(() => {});
      throw error;
    } finally {
      clearTimeout(timer);
      this.#signal.removeEventListener("abort", onAbort);
    }
  }
}

async function tlsOptions(
  access: ApiAccess,
  protocols: readonly string[],
): Promise<tls.ConnectionOptions> {
  const material = await access.tls();
  const ca = access.insecure ? undefined : material.ca ?? await systemAuthorities();
  return {
    ...material,
    ...(ca === undefined ? {} : { ca }),
    rejectUnauthorized: !access.insecure,
    ALPNProtocols: [...protocols],
    ...identity(access.serverName ?? hostOf(access.server)),
  };
}

/** Where distributions keep the authorities that the host trusts, as Go looks for them. */
const AUTHORITIES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/**
 * The authorities that the host trusts: SSL_CERT_FILE, else the distribution's. Deno would take the list that it was
 * built with, in which a company's own authority never is.
 *
 * @returns Undefined where the host has none. @throws {AccessError} If the file that is named, or is there, can't be read.
 */
async function systemAuthorities(): Promise<string | undefined> {
  const named = Deno.env.get("SSL_CERT_FILE");
  if (named) return await readText(named);
  for (const path of AUTHORITIES) {
    try {
      return await readText(path);
    } catch (error) {
      if (!((error as Error).cause instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

/**
 * The name that the certificate must have. SNI takes names only (RFC 6066, section 3); an address is checked all the
 * same.
 */
function identity(name: string): tls.ConnectionOptions {
  if (!isIP(name)) return { servername: name };
  return { checkServerIdentity: (_host, certificate) => tls.checkServerIdentity(name, certificate) };
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

function shuffled<T>(list: readonly T[]): T[] {
  return list.map((value) => ({ value, at: Math.random() })).sort((a, b) => a.at - b.at).map(({ value }) =>
    value
  );
}
