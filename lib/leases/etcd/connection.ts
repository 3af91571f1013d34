/**
 * An HTTP/2 connection to one etcd endpoint: to the first of its addresses that takes one, with TLS where the
 * endpoint is https, and watched for silence while calls are under way.
 *
 * @module
 */
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, createSecureContext, type SecureContext, type TLSSocket } from "node:tls";
import { messageOf } from "../../errors.ts";
import type { Credentials } from "./credentials.ts";
import type { Endpoint } from "./endpoints.ts";
import { CallError } from "./faults.ts";
import { pause } from "../../time/pause.ts";

/** gRPC's UNAVAILABLE. */
const UNAVAILABLE = 14;

/**
 * A connection that was cut without a word is noticed after both of these, in milliseconds. etcd refuses clients that
 * ping more often than every 5 s (--grpc-keepalive-min-time), or while no call is under way.
 */
const PING_MS = 6000;
const PONG_MS = 3000;

/** The next address of a name is tried when the one before has been silent for this long (RFC 8305, section 5). */
const NEXT_ADDRESS_MS = 250;

/** A connection from its first attempt to its end; there is no second attempt. */
export class Connection {
  /** Resolves when calls can be made. @throws {CallError} If that fails. */
  readonly opened: Promise<ClientHttp2Session>;
  /** Calls under way, and those that wait for the connection. */
  readonly #users = new Set<object>();
  readonly #end = new AbortController();
  #session: ClientHttp2Session | undefined;
  #isConfirmed = false;
  #isUsable = true;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failure: CallError | undefined;

  /** @param secure For an https endpoint: of {@link secureContextOf}. */
  constructor(endpoint: Endpoint, secure: SecureContext | undefined) {
    this.opened = this.#open(endpoint, secure);
    // Who waits sees the error.
    this.opened.catch(() => {});
  }

  /** Whether another call may be made on it. */
  get isUsable(): boolean {
    return this.#isUsable;
  }

  /** Whether the other end has shown that it speaks HTTP/2. */
  get isConfirmed(): boolean {
    return this.#isConfirmed;
  }

  /** What ended it; undefined while it lives. */
  get failure(): CallError | undefined {
    return this.#failure;
  }

  /** Has the connection kept for a call. */
  hold(call: object): void {
    this.#users.add(call);
  }

  /** The call has ended, or waits no longer. An attempt that nobody waits for ends: the next one begins anew. */
  release(call: object): void {
    this.#users.delete(call);
    if (this.#users.size === 0 && !this.#isConfirmed) this.close();
  }

  /** Ends it at once, with all calls. */
  close(failure: CallError = new CallError(UNAVAILABLE, "Cancelled on client")): void {
    if (this.#failure) return;
    this.#failure = failure;
    this.#isUsable = false;
    clearTimeout(this.#timer);
    this.#end.abort(failure);
    this.#session?.destroy();
  }

  async #open(endpoint: Endpoint, secure: SecureContext | undefined): Promise<ClientHttp2Session> {
    try {
      const { host, port } = splitTarget(endpoint.target);
      let socket = await dial(await addressesOf(host), port, this.#end.signal);
      if (secure) socket = await startTls(socket, host, secure, this.#end.signal);
      this.#end.signal.throwIfAborted();
      return this.#begin(endpoint, socket);
    } catch (error) {
      if (!this.#failure) this.close(failureOf(error));
      throw this.#failure;
    }
  }

  #begin(endpoint: Endpoint, socket: Socket): ClientHttp2Session {
    const session = connectHttp2(endpoint.url, {
      createConnection: () => socket,
      settings: { enablePush: false },
      // Nothing limits a lease's value, or what one transaction changes.
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
    });
    this.#session = session;
    session.once("remoteSettings", () => this.#isConfirmed = true);
    session.once("goaway", () => this.#isUsable = false);
    session.once("error", (error) => this.close(failureOf(error)));
    // Before the session has noticed, its calls fail by themselves.
    socket.once("error", (error) => this.close(failureOf(error)));
    const dropped = () =>
      this.close(new CallError(UNAVAILABLE, this.#isConfirmed ? "Connection dropped" : "socket hang up"));
    session.once("close", dropped);
    socket.once("close", dropped);
    this.#watchSilence(session);
    return session;
  }

  #watchSilence(session: ClientHttp2Session): void {
    this.#timer = setTimeout(() => {
      if (this.#users.size === 0) return this.#watchSilence(session);
      this.#timer = setTimeout(() => {
        this.close(new CallError(UNAVAILABLE, `no answer to a ping within ${PONG_MS} ms`));
      }, PONG_MS);
      session.ping((error) => {
        if (error || this.#failure) return;
        clearTimeout(this.#timer);
        this.#watchSilence(session);
      });
    }, PING_MS);
  }
}

/** @param target `HOST:PORT`, an IPv6 host in brackets. */
function splitTarget(target: string): { host: string; port: number } {
  const colon = target.lastIndexOf(":");
  return { host: target.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(target.slice(colon + 1)) };
}

function isAddress(host: string): boolean {
  return /^\d+(\.\d+){3}$|:/.test(host);
}

/** All addresses of a name, as the system knows them now. */
async function addressesOf(host: string): Promise<readonly string[]> {
  if (isAddress(host)) return [host];
  const { lookup } = await import("node:dns/promises");
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

/** A socket to the first address that takes a connection. @throws What the first address failed with. */
async function dial(addresses: readonly string[], port: number, signal: AbortSignal): Promise<Socket> {
  const done = new AbortController();
  const stop = AbortSignal.any([signal, done.signal]);
  let turn: Promise<unknown> = Promise.resolve();
  const attempts = addresses.map((host) => {
    const attempt = turn.then(() => {
      stop.throwIfAborted();
      return connectedSocket(connectTcp({ host, port }), "connect", stop);
    });
    turn = Promise.race([attempt.catch(() => {}), turn.then(() => pause(NEXT_ADDRESS_MS, stop))]);
    return attempt;
  });
  try {
    return await Promise.any(attempts);
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error;
  } finally {
    done.abort();
  }
}

/** Certificates and key for an https endpoint. @throws {Error} If they can't be used. */
export function secureContextOf({ ca, cert, key }: Credentials): SecureContext {
  return createSecureContext({ ...ca ? { ca } : {}, ...cert && key ? { cert, key } : {} });
}

/** Speaks TLS on a socket. An address isn't named to the server (RFC 6066, section 3): its certificate is checked for it. */
function startTls(
  socket: Socket,
  host: string,
  secureContext: SecureContext,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const named = isAddress(host) ? {} : { servername: host };
  const secured = connectTls({ socket, host, secureContext, ...named, ALPNProtocols: ["h2"] });
  return connectedSocket(secured, "secureConnect", signal);
}

/** The socket when its event has come. */
function connectedSocket<S extends Socket>(
  socket: S,
  event: "connect" | "secureConnect",
  signal: AbortSignal,
): Promise<S> {
  return new Promise((resolve, reject) => {
    const settle = (error?: unknown) => {
      socket.removeListener(event, onOpen);
      socket.removeListener("close", onClose);
      signal.removeEventListener("abort", onAbort);
      if (error === undefined) return resolve(socket);
      socket.destroy();
      reject(error);
    };
    const onOpen = () => settle();
    const onClose = () => settle(new Error("socket hang up"));
    const onAbort = () => settle(signal.reason);
    // Stays: an error that nobody listens for would end the process.
    socket.on("error", settle);
    socket.once(event, onOpen);
    socket.once("close", onClose);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

function failureOf(error: unknown): CallError {
  if (error instanceof CallError) return error;
  const { code } = error as { code?: unknown };
  const text = messageOf(error);
  return new CallError(
    UNAVAILABLE,
    typeof code === "string" && !text.includes(code) ? `${code}: ${text}` : text,
  );
}
