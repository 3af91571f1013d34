/**
 * WireGuard in user space: the cross-platform interface, a text protocol on a Unix socket.
 *
 * @module
 */
import { SystemError } from "../ffi/errno.ts";
import { tryParseIp } from "../net/ip.ts";
import { formatPrefix, parsePrefix, type Prefix } from "../net/prefix.ts";
import { keyFromHex, keyToHex, publicKeyOf } from "./keys.ts";
import { socketPath } from "./socket_path.ts";
import {
  type Endpoint,
  formatEndpoint,
  greetingKeepalive,
  type PeerChange,
  type PeerFailure,
  type WireguardControl,
  type WireguardDevice,
  type WireguardDeviceChange,
  type WireguardPeer,
  type WireguardPeerState,
} from "./types.ts";

/** How long a device may take to answer, or between two pieces of its answer, in milliseconds. */
const ANSWER_MS = 5_000;

/** Peers in one request: an implementation reads it as a whole. */
const PEERS_PER_REQUEST = 256;

/** A pre-shared key of zeros is none. */
const NO_KEY = "0".repeat(64);

/** An implementation refused what it was asked for, or its answer makes no sense. */
export class UapiError extends Error {
  override readonly name = "UapiError";
}

/** See the module's text. */
export class UserspaceWireguard implements WireguardControl {
  /**
   * By device, where a key is set: the endpoints as last read, if its program is one that can't change a peer; else
   * nothing.
   */
  readonly #limited = new Map<string, ReadonlyMap<string, Endpoint> | undefined>();

  async read(device: string): Promise<WireguardDevice> {
    const answer = await converse(device, "get=1\n\n");
    const read = parseDevice(answer);
    if (read.publicKey === undefined) this.#limited.delete(device);
    else this.#limited.set(device, isLimited(answer) ? endpointsOf(read) : undefined);
    return read;
  }

  async configure(device: string, { privateKey, listenPort }: WireguardDeviceChange): Promise<void> {
    const lines = ["set=1"];
    if (privateKey !== undefined) lines.push(`private_key=${keyToHex(privateKey)}`);
    if (listenPort !== undefined) lines.push(`listen_port=${listenPort}`);
    refuseErrno(await converse(device, `${lines.join("\n")}\n\n`), `configure ${device}`);
  }

  async apply(device: string, changes: readonly PeerChange[]): Promise<PeerFailure[]> {
    // Before there was a key nothing showed which program it is.
    if (!this.#limited.has(device)) await this.read(device);
    const endpoints = this.#limited.get(device);
    if (endpoints) return await this.#replace(device, changes, endpoints);
    const failures: PeerFailure[] = [];
    for (let start = 0; start < changes.length; start += PEERS_PER_REQUEST) {
      const some = changes.slice(start, start + PEERS_PER_REQUEST);
      const error = await this.#set(device, some);
      if (!error) continue;
      // An error doesn't say whose it is.
      for (const change of some.length === 1 ? [] : some) {
        const own = await this.#set(device, [change]);
        if (own) failures.push({ change, error: own });
      }
      if (some.length === 1) failures.push({ change: some[0]!, error });
    }
    return failures;
  }

  /**
   * boringtun stops answering when a peer that is there is set (its issue 40), and takes what a request says of one
   * peer for the next one's, too: each peer is removed and made, one a request. Its session begins anew.
   */
  async #replace(
    device: string,
    changes: readonly PeerChange[],
    endpoints: ReadonlyMap<string, Endpoint>,
  ): Promise<PeerFailure[]> {
    const failures: PeerFailure[] = [];
    for (const change of changes) {
      const publicKey = change.verb === "set" ? change.peer.publicKey : change.publicKey;
      let error = await this.#set(device, [{ verb: "remove", publicKey }]);
      if (!error && change.verb === "set") {
        const endpoint = change.peer.endpoint ?? endpoints.get(publicKey);
        error = await this.#set(device, [{
          verb: "set",
          peer: { ...change.peer, ...endpoint ? { endpoint } : {} },
        }]);
      }
      if (error) failures.push({ change, error });
    }
    return failures;
  }

  async #set(device: string, changes: readonly PeerChange[]): Promise<Error | undefined> {
    try {
      const text = ["set=1", ...changes.flatMap(changeLines)].join("\n");
      refuseErrno(await converse(device, `${text}\n\n`), `change peers of ${device}`);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }
}

/** Whether the answer to a get is boringtun's: it gives the public key, not the private one. */
function isLimited(answer: string): boolean {
  return /^own_public_key=/m.test(answer);
}

function endpointsOf({ peers }: WireguardDevice): Map<string, Endpoint> {
  return new Map(peers.flatMap(({ publicKey, endpoint }) => endpoint ? [[publicKey, endpoint]] : []));
}

function changeLines(change: PeerChange): string[] {
  if (change.verb === "remove") return [`public_key=${keyToHex(change.publicKey)}`, "remove=true"];
  const { peer, greet } = change;
  if (!greet) return peerLines(peer);
  const last = [`public_key=${keyToHex(peer.publicKey)}`, `persistent_keepalive_interval=${peer.keepalive}`];
  return [...peerLines({ ...peer, keepalive: greetingKeepalive(peer) }), ...last];
}

function peerLines({ publicKey, presharedKey, endpoint, keepalive, allowedIps }: WireguardPeer): string[] {
  return [
    `public_key=${keyToHex(publicKey)}`,
    `preshared_key=${presharedKey === undefined ? NO_KEY : keyToHex(presharedKey)}`,
    ...endpoint ? [`endpoint=${formatEndpoint(endpoint)}`] : [],
    `persistent_keepalive_interval=${keepalive}`,
    "replace_allowed_ips=true",
    ...allowedIps.map((prefix) => `allowed_ip=${formatPrefix(prefix)}`),
  ];
}

/** Sends a request and reads the answer, which an empty line ends. */
async function converse(device: string, request: string): Promise<string> {
  const path = socketPath(device);
  using connection = await Deno.connect({ transport: "unix", path });
  // Each piece has the time anew: 20,000 peers are 10 MB.
  const expire = () => connection.close();
  let timer = setTimeout(expire, ANSWER_MS);
  try {
    await writeAll(connection, new TextEncoder().encode(request));
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(64 * 1024);
    const pieces: string[] = [];
    let end = "";
    while (end !== "\n\n") {
      const count = await connection.read(buffer);
      if (count === null) throw new Error(`${path} ended its answer early`);
      clearTimeout(timer);
      timer = setTimeout(expire, ANSWER_MS);
      const piece = decoder.decode(buffer.subarray(0, count), { stream: true });
      pieces.push(piece);
      end = (end + piece).slice(-2);
    }
    return pieces.join("");
  } catch (error) {
    if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
      throw new Error(`${path} gave no answer for ${ANSWER_MS / 1000} s`, { cause: error });
    }
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** @throws {SystemError} With the number that the answer gives. @throws {UapiError} If it gives none. */
function refuseErrno(answer: string, what: string): void {
  const errno = /^errno=(-?\d{1,9})$/m.exec(answer)?.[1];
  if (errno === undefined) throw new UapiError(`Cannot ${what}: the answer has no errno`);
  // Implementations write it with or without the sign.
  if (Number(errno) !== 0) throw new SystemError(what, Math.abs(Number(errno)));
}

type PeerLines = { -readonly [key in keyof WireguardPeerState]: WireguardPeerState[key] } & {
  allowedIps: Prefix[];
};

/**
 * The answer to a get.
 *
 * @param now The time, in milliseconds since 1970: boringtun gives the age of a handshake in the place of its time.
 * @throws {SystemError} If it is an error. @throws {UapiError} If it is no answer at all.
 */
export function parseDevice(answer: string, now: number = Date.now()): WireguardDevice {
  refuseErrno(answer, "read the device");
  const device = { publicKey: undefined as string | undefined, listenPort: 0, peers: [] as PeerLines[] };
  const givesAge = isLimited(answer);
  for (const line of answer.split("\n")) {
    const at = line.indexOf("=");
    if (at < 0) continue;
    const key = line.slice(0, at), value = line.slice(at + 1);
    if (key === "private_key") device.publicKey = publicKeyFrom(value);
    else if (key === "own_public_key") device.publicKey = readKey(value);
    else if (key === "listen_port") device.listenPort = numberIn(line, 65535);
    else if (key === "public_key") device.peers.push(newPeer(readKey(value)));
    else if (device.peers.length > 0) {
      const peer = device.peers.at(-1)!;
      if (givesAge && key === "last_handshake_time_sec") {
        peer.lastHandshake = handshakeTime(numberIn(line), now);
      } else readPeerLine(peer, key, value, line);
    }
  }
  const { publicKey, listenPort, peers } = device;
  return { listenPort, peers, ...publicKey === undefined ? {} : { publicKey } };
}

/** The interface gives the private key only; nobody else needs to see it. */
function publicKeyFrom(privateHex: string): string | undefined {
  return privateHex === NO_KEY ? undefined : publicKeyOf(readKey(privateHex));
}

/** When a handshake was, in seconds since 1970. No handshake is as old as that: a small number is an age. */
function handshakeTime(seconds: number, now: number): number {
  return seconds < 1e9 ? Math.floor(now / 1000) - seconds : seconds;
}

/** The messages of faults never hold a key. */
function readKey(hex: string): string {
  if (!/^[0-9a-f]{64}$/i.test(hex)) throw new UapiError("a key that isn't 64 hexadecimal digits");
  return keyFromHex(hex);
}

/** The number after the equals sign; of counters above 2^53 the last digits are lost. */
function numberIn(line: string, max = Infinity): number {
  const digits = /^[^=]*=(\d{1,20})$/.exec(line)?.[1];
  const number = Number(digits);
  if (digits === undefined || number > max) throw new UapiError(`the line ${quoted(line)}`);
  return number;
}

function quoted(line: string): string {
  return JSON.stringify(line.slice(0, 80));
}

function newPeer(publicKey: string): PeerLines {
  const counters = { lastHandshake: 0, receivedBytes: 0, sentBytes: 0 };
  return { publicKey, keepalive: 0, allowedIps: [], ...counters };
}

function readPeerLine(peer: PeerLines, key: string, value: string, line: string): void {
  switch (key) {
    case "preshared_key":
      if (value !== NO_KEY) peer.presharedKey = readKey(value);
      break;
    case "endpoint": {
      const endpoint = parseEndpoint(value);
      if (endpoint) peer.endpoint = endpoint;
      break;
    }
    case "persistent_keepalive_interval":
      peer.keepalive = numberIn(line, 65535);
      break;
    case "allowed_ip":
      peer.allowedIps.push(readAllowedIp(value, line));
      break;
    case "last_handshake_time_sec":
      peer.lastHandshake = numberIn(line);
      break;
    case "rx_bytes":
      peer.receivedBytes = numberIn(line);
      break;
    case "tx_bytes":
      peer.sentBytes = numberIn(line);
  }
}

function readAllowedIp(text: string, line: string): Prefix {
  try {
    return parsePrefix(text);
  } catch (cause) {
    throw new UapiError(`the line ${quoted(line)}`, { cause });
  }
}

/** Undefined for what isn't one: an address with a zone is of no use to anybody but the implementation. */
function parseEndpoint(text: string): Endpoint | undefined {
  const [, v6, v4, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text) ?? [];
  const ip = tryParseIp(v6 ?? v4 ?? "");
  return ip && Number(port) <= 65535 ? { ip, port: Number(port) } : undefined;
}
