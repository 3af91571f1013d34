/**
 * A way through a proxy: HTTP's CONNECT (RFC 9110, section 9.3.6), or SOCKS 5 (RFC 1928, with RFC 1929).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { ipToBytes, tryParseIp } from "../net/ip.ts";
import { describeProxy } from "./proxy.ts";

/** Where the way leads: the proxy finds the address of a name. */
export interface TunnelEnd {
  /** A name or an address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Longest head of a proxy's answer, in bytes. */
const MAX_HEAD_BYTES = 16 * 1024;

/**
 * Asks a proxy for a way to a server; afterwards the socket leads there.
 *
 * @param socket Connected to the proxy. @throws {Error} If the proxy refuses, or ends the connection.
 */
export async function openTunnel(socket: Socket, proxy: URL, end: TunnelEnd): Promise<void> {
  try {
    if (proxy.protocol.startsWith("socks5")) await socks(socket, proxy, end);
    else await httpConnect(socket, proxy, end);
  } catch (cause) {
    throw new Error(`proxy ${describeProxy(proxy)}: ${(cause as Error).message}`, { cause });
  }
}

/** The header Proxy-Authorization for a proxy's URL; undefined where it has no user. */
export function proxyAuthorization({ username, password }: URL): string | undefined {
  if (username === "" && password === "") return undefined;
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`);
  return `Basic ${login.toString("base64")}`;
}

async function httpConnect(socket: Socket, proxy: URL, { host, port }: TunnelEnd): Promise<void> {
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const authorization = proxyAuthorization(proxy);
  const lines = [
    `CONNECT ${authority} HTTP/1.1`,
    `Host: ${authority}`,
    ...authorization === undefined ? [] : [`Proxy-Authorization: ${authorization}`],
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  let head = "";
  // One byte after the other: what follows the head is the server's.
  while (!head.endsWith("\r\n\r\n")) {
    head += (await readBytes(socket, 1)).toString("latin1");
    if (head.length > MAX_HEAD_BYTES) throw new Error("its answer isn't HTTP");
  }
  const status = /^HTTP\/1\.\d (\d{3}[^\r\n]*)/.exec(head)?.[1];
  if (status === undefined) throw new Error("its answer isn't HTTP");
  if (!status.startsWith("2")) throw new Error(`it refuses a way to ${authority}: ${status}`);
}

const SOCKS_REFUSALS = [
  ...["", "general failure", "not allowed by its rules", "network unreachable", "host unreachable"],
  ...["connection refused", "TTL expired", "command not supported", "address type not supported"],
];

async function socks(socket: Socket, proxy: URL, { host, port }: TunnelEnd): Promise<void> {
  const [user, password] = [proxy.username, proxy.password].map((text) =>
    Buffer.from(decodeURIComponent(text))
  ) as [Buffer, Buffer];
  const methods = user.length > 0 ? [0, 2] : [0];
  socket.write(Buffer.from([5, methods.length, ...methods]));
  const [version, method] = await readBytes(socket, 2);
  if (version !== 5) throw new Error("its answer isn't SOCKS 5");
  if (method === 2 && user.length > 0) {
    socket.write(Buffer.from([1, user.length, ...user, password.length, ...password]));
    const [, isRefused] = await readBytes(socket, 2);
    if (isRefused !== 0) throw new Error("it refuses the user");
  } else if (method !== 0) {
    throw new Error("it wants another kind of login; only user and password are supported");
  }
  socket.write(Buffer.from([5, 1, 0, ...socksAddress(host), port >> 8, port & 0xff]));
  const [, code, , type] = await readBytes(socket, 4);
  if (code !== 0) throw new Error(`it refuses a way to ${host}: ${SOCKS_REFUSALS[code!] || `code ${code}`}`);
  // The address that it connects from, which nobody needs.
  const length = type === 1 ? 4 : type === 4 ? 16 : (await readBytes(socket, 1))[0]!;
  await readBytes(socket, length + 2);
}

/** A host as SOCKS has it: the kind, the length of a name, its bytes. */
function socksAddress(host: string): number[] {
  const ip = tryParseIp(host);
  if (ip) return [ip.family.name === "ipv4" ? 1 : 4, ...ipToBytes(ip)];
  const name = Buffer.from(host);
  return [3, name.length, ...name];
}

/** The next bytes; the socket stays paused, so that nothing after them is lost. */
async function readBytes(socket: Socket, count: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(count) as Buffer | null;
    if (bytes?.length === count) return bytes;
    if (bytes || socket.readableEnded || socket.destroyed) throw new Error("it closed the connection");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onEnd = () => reject(new Error("it closed the connection"));
    socket.once("readable", resolve).once("end", onEnd).once("close", onEnd).once("error", reject);
    await promise.finally(() =>
      socket.off("readable", resolve).off("end", onEnd).off("close", onEnd).off("error", reject)
    );
  }
}
