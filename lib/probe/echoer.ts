/**
 * Echo requests and their answers: many at once, over one socket each for the overlay and the underlay of a family.
 *
 * @module
 */
import { SystemError } from "../ffi/errno.ts";
import { POLLIN, PollSet, WakeFd } from "../ffi/fd.ts";
import type { Family, FamilyName, PerFamily } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import { EchoSocket, type Received } from "./echo_socket.ts";
import { decodeIcmp, encodeEchoRequest, type IcmpErrorMessage } from "./icmp.ts";
import type { Pacer } from "./pacer.ts";

/** Whether a packet goes through the overlay, or beside it to the peer's public address. */
export type Side = "overlay" | "underlay";

/** What became of one echo request. */
export type EchoOutcome =
  | { readonly kind: "reply"; readonly rttMs: number }
  | { readonly kind: "error"; readonly error: IcmpErrorMessage; readonly from: Ip; readonly rttMs: number }
  | { readonly kind: "lost" }
  /** It didn't leave: `code` is the errno's name. */
  | { readonly kind: "unsent"; readonly code: string; readonly message: string };

/** One echo request. */
export interface EchoRequest {
  readonly side: Side;
  readonly to: Ip;
  /** Of the whole IP packet. */
  readonly packetBytes: number;
  readonly timeoutMs: number;
  /** @default 64 */
  readonly ttl?: number;
}

/** Length of what makes a reply ours, in bytes. */
const COOKIE_BYTES = 8;
/** How many messages are read before the event loop has its turn. */
const MESSAGES_A_TURN = 128;

/** A request without an answer yet. */
interface Pending {
  readonly side: Side;
  readonly sentAt: number;
  readonly sentMonotonic: number;
  finish(outcome: EchoOutcome): void;
}

/** An error about a packet that wasn't an echo request, like a tunnel's outer packet. */
export interface ForeignError {
  readonly error: IcmpErrorMessage;
  readonly from: Ip;
}

/** See the module's text. */
export class Echoer implements AsyncDisposable {
  readonly #pacer: Pacer;
  readonly #sockets = new Map<string, EchoSocket>();
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Set<(error: ForeignError) => void>();
  readonly #wake = new WakeFd();
  readonly #cookie = crypto.getRandomValues(new Uint8Array(COOKIE_BYTES));
  readonly #id = crypto.getRandomValues(new Uint16Array(1))[0]!;
  /** Why there is no socket with the host's own overlay address. */
  readonly sourceProblems: { [name in FamilyName]?: string } = {};
  #sequence = 0;
  #closed = false;
  readonly #reading: Promise<void>;

  /**
   * @param sources The host's own overlay addresses, from which the overlay is asked.
   * @throws {SystemError} EPERM: CAP_NET_RAW is missing.
   */
  constructor(families: readonly Family[], sources: PerFamily<Ip>, pacer: Pacer) {
    this.#pacer = pacer;
    try {
      for (const family of families) this.#open(family, sources[family.name]);
    } catch (error) {
      this.#closeSockets();
      throw error;
    }
    this.#reading = this.#read();
  }

  #open(family: Family, source: Ip | undefined): void {
    this.#sockets.set(`underlay ${family.name}`, new EchoSocket(family));
    const key = `overlay ${family.name}`;
    try {
      this.#sockets.set(key, new EchoSocket(family, source));
    } catch (error) {
      if (!(error instanceof SystemError) || error.code !== "EADDRNOTAVAIL") throw error;
      this.sourceProblems[family.name] = error.message;
      this.#sockets.set(key, new EchoSocket(family));
    }
  }

  /** Sends one request when the pacer lets it, and waits for what becomes of it. */
  async echo(request: EchoRequest, signal?: AbortSignal): Promise<EchoOutcome> {
    await this.#pacer.slot(signal);
    if (this.#closed || signal?.aborted) return { kind: "lost" };
    const { family } = request.to;
    const sequence = this.#freeSequence();
    const message = encodeEchoRequest(family, {
      id: this.#id,
      sequence,
      cookie: this.#cookie,
      packetBytes: request.packetBytes,
    });
    const socket = this.#sockets.get(`${request.side} ${family.name}`);
    if (!socket) throw new RangeError(`No ${family.label} socket is open`);
    try {
      const sentAt = socket.send(request.to, message, request.ttl);
      return await this.#answer(sequence, request, sentAt);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return { kind: "unsent", code: error.code, message: error.message };
    }
  }

  /** Waits until one more packet may leave, of whatever kind. */
  slot(signal: AbortSignal): Promise<void> {
    return this.#pacer.slot(signal);
  }

  /** Calls back with errors about packets that aren't echo requests: the tunnel's own among them. */
  onForeignError(listener: (error: ForeignError) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake.wake();
    await this.#reading;
    for (const { finish } of [...this.#pending.values()]) finish({ kind: "lost" });
    this.#closeSockets();
  }

  #closeSockets(): void {
    for (const socket of this.#sockets.values()) socket[Symbol.dispose]();
    this.#wake[Symbol.dispose]();
  }

  #freeSequence(): number {
    do this.#sequence = (this.#sequence + 1) & 0xffff; while (this.#pending.has(this.#sequence));
    return this.#sequence;
  }

  #answer(sequence: number, { side, timeoutMs }: EchoRequest, sentAt: number): Promise<EchoOutcome> {
    const { promise, resolve } = Promise.withResolvers<EchoOutcome>();
    const timer = setTimeout(() => {
      // A busy event loop may run the timer before it reads an answer that is there.
      this.#drain();
      finish({ kind: "lost" });
    }, timeoutMs);
    const finish = (outcome: EchoOutcome) => {
      clearTimeout(timer);
      if (this.#pending.delete(sequence)) resolve(outcome);
    };
    this.#pending.set(sequence, { side, sentAt, sentMonotonic: performance.now(), finish });
    return promise;
  }

  async #read(): Promise<void> {
    const descriptors = [this.#wake, ...this.#sockets.values()];
    const poll = new PollSet(descriptors.map(({ fd }) => ({ fd, events: POLLIN })));
    while (!this.#closed) {
      await poll.wait();
      if (!this.#closed) this.#drain();
    }
  }

  #drain(): void {
    for (const socket of this.#sockets.values()) {
      for (let i = 0; i < MESSAGES_A_TURN; i++) {
        const received = socket.receive();
        if (!received) break;
        this.#take(socket, received);
      }
    }
  }

  #take({ family }: EchoSocket, { bytes, from, at }: Received): void {
    const message = decodeIcmp(family, bytes);
    if (!message) return;
    if (message.kind === "reply") {
      const pending = message.id === this.#id ? this.#pending.get(message.sequence) : undefined;
      // Others on this host may have chosen the same identifier.
      if (pending && this.#cookie.every((byte, i) => message.payload[i] === byte)) {
        pending.finish({ kind: "reply", rttMs: elapsed(pending, at) });
      }
      return;
    }
    if (message.sequence === undefined) {
      for (const listener of this.#listeners) listener({ error: message, from });
      return;
    }
    const pending = message.id === this.#id ? this.#pending.get(message.sequence) : undefined;
    pending?.finish({ kind: "error", error: message, from, rttMs: elapsed(pending, at) });
  }
}

/** By the kernel's stamp, unless the wall clock was set meanwhile. */
function elapsed({ sentAt, sentMonotonic }: Pending, at: number): number {
  const bound = performance.now() - sentMonotonic;
  const stamped = at - sentAt;
  return stamped >= 0 && stamped <= bound + 1 ? stamped : bound;
}
