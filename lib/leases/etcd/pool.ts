/**
 * Several endpoints as one: calls go to the endpoint that answered last, and to the next when it fails.
 *
 * @module
 */
import { messageOf } from "../../errors.ts";
import { CompactedError, ReplacedError, StoreError } from "../types.ts";
import { EtcdClient, type WatchStream } from "./client.ts";
import type { CredentialSource } from "./credentials.ts";
import type { Endpoint } from "./endpoints.ts";
import { CallError, classify, type Fault } from "./faults.ts";
import { type CallLimits, left, type Patience } from "./limits.ts";
import type { CallName, Calls } from "./messages.ts";

/** Longest waits, in milliseconds, for a connection and for an answer. */
type Waits = Pick<CallLimits, "connectMs" | "deadlineMs">;

/** Where there is another endpoint to ask: a dropped SYN costs no more than this. */
const FIRST_ROUND: Waits = { connectMs: 1000, deadlineMs: 1500 };
/** Where there is none, or all were slow: a busy server may need longer. */
const LAST_ROUND: Waits = { connectMs: 3000, deadlineMs: 6000 };

/** No endpoint gave an answer; a later call may succeed. */
export class EndpointsError extends Error {
  override readonly name = "EndpointsError";
}

/** etcd refused the request as such: it wasn't done, and no other endpoint would do it. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
}

/** Something to do at one endpoint, as often as it takes; it fails with a {@link CallError}. */
export type Attempt<T> = (client: EtcdClient, limits: CallLimits) => Promise<T>;

/** All endpoints of one cluster. */
export class EtcdPool implements Disposable {
  readonly #clients = new Map<Endpoint, EtcdClient>();
  readonly #watches = new Set<WatchStream>();
  #current = 0;
  #closed = false;
  #refreshing: Promise<void> | undefined;
  /** Fires when the connections of now are given up. */
  #dropped = new AbortController();

  constructor(readonly endpoints: readonly Endpoint[], readonly credentials: CredentialSource) {}

  /**
   * Makes the call at the first endpoint that answers. A request may be made twice, if the answer to the
   * first is lost: it must allow that.
   *
   * @throws {StoreError} If waiting doesn't help. @throws {CompactedError} If the revision is gone.
   * @throws {RefusedError} If etcd refuses the request. @throws {EndpointsError} If no endpoint answers, with
   * each one's cause.
   */
  async call<N extends CallName>(
    name: N,
    request: Calls[N]["request"],
    patience: Patience = {},
  ): Promise<Calls[N]["response"]> {
    return (await this.use((client, limits) => client.call(name, request, limits), patience)).value;
  }

  /** Does all of `attempt` at the first endpoint where it succeeds, and says which that was. Errors as {@link call}. */
  async use<T>(attempt: Attempt<T>, patience: Patience = {}): Promise<{ value: T; endpoint: Endpoint }> {
    const rounds = this.endpoints.length > 1 ? [FIRST_ROUND, LAST_ROUND] : [LAST_ROUND];
    let faults: { endpoint: Endpoint; fault: Fault }[] = [];
    for (const waits of rounds) {
      const round: typeof faults = [];
      const first = this.#current;
      for (let i = 0; i < this.endpoints.length; i++) {
        const index = (first + i) % this.endpoints.length;
        const endpoint = this.endpoints[index]!;
        // With little time left, the error names every endpoint.
        const share = left(patience) / (this.endpoints.length - i);
        const outcome = await this.#attempt(endpoint, attempt, atMost(waits, share), patience.signal);
        if (!("fault" in outcome)) {
          this.#current = index;
          return { value: outcome.value, endpoint };
        }
        round.push({ endpoint, fault: outcome.fault });
      }
      // A second round that was cut short says less than the first.
      if (faults.length === 0 || left(patience) > 0) faults = round;
      // Only slowness is worth asking all of them again at once.
      if (
        left(patience) === 0 ||
        !round.some(({ fault }) => /no answer in time|no connection within/.test(fault.cause))
      ) break;
    }
    const kind = faults.every(({ fault }) => fault.kind === "fatal") ? "fatal" : "endpoint";
    throw toError(
      { kind, cause: "" },
      faults.map(({ endpoint, fault }) => `${endpoint.url}: ${fault.cause}`),
    );
  }

  /** Has {@link dropConnections} and the end of the pool end this stream. */
  track(stream: WatchStream): void {
    this.#watches.add(stream);
    void stream.ended.then(() => this.#watches.delete(stream));
  }

  /** Ends all connections; calls and watches under way fail, later ones connect anew. */
  dropConnections(): void {
    const dropped = this.#dropped;
    this.#dropped = new AbortController();
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
    // 14: UNAVAILABLE
    dropped.abort(new CallError(14, "the connection was given up"));
    for (const stream of this.#watches) stream.cancel();
  }

  /** The error that callers see for one of a stream at `endpoint`. */
  asError(error: unknown, endpoint: Endpoint): unknown {
    if (!(error instanceof CallError)) return error;
    const fault = classify(error);
    return toError(fault, [`${endpoint.url}: ${fault.cause}`]);
  }

  /** One endpoint. Throws what no other endpoint would make better. */
  async #attempt<T>(
    endpoint: Endpoint,
    attempt: Attempt<T>,
    waits: Waits,
    asked: AbortSignal | undefined,
  ): Promise<{ value: T } | { fault: Fault }> {
    if (waits.deadlineMs === 0) return { fault: { kind: "endpoint", cause: "not asked, no time was left" } };
    try {
      const client = await this.#client(endpoint);
      const signal = either(asked, this.#dropped.signal);
      return { value: await attempt(client, { ...waits, signal }) };
    } catch (error) {
      asked?.throwIfAborted();
      if (!(error instanceof CallError)) throw error;
      const fault = classify(error);
      // Certificates differ from endpoint to endpoint; users and revisions are the cluster's.
      const elsewhere = fault.kind === "endpoint" || (fault.kind === "fatal" && error.code === 14);
      if (elsewhere) return { fault };
      throw toError(fault, [`${endpoint.url}: ${fault.cause}`]);
    }
  }

  async #client(endpoint: Endpoint): Promise<EtcdClient> {
    await (this.#refreshing ??= this.#refresh());
    if (this.#closed) throw new Error("The store is closed");
    let client = this.#clients.get(endpoint);
    if (!client) {
      try {
        client = new EtcdClient(endpoint, this.credentials.current);
      } catch (cause) {
        const why = messageOf(cause);
        throw new StoreError(`Cannot use the certificates for ${endpoint.url}: ${why}`, { cause });
      }
      this.#clients.set(endpoint, client);
    }
    return client;
  }

  /** Looks whether certificates were replaced: what is connected with the old ones makes room, once. */
  async #refresh(): Promise<void> {
    try {
      if (await this.credentials.refresh()) this.dropConnections();
    } finally {
      this.#refreshing = undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}

function toError(fault: Fault, causes: readonly string[]): Error {
  const text = causes.join("; ");
  switch (fault.kind) {
    case "fatal":
    case "anonymous":
      return new StoreError(`Cannot use etcd at ${text}`);
    case "compacted":
      return new CompactedError(`etcd no longer keeps this revision (${text})`);
    case "future":
      return new ReplacedError(`etcd's data was replaced by an older state (${text})`);
    case "request":
      return new RefusedError(`etcd at ${text}`);
    default:
      return new EndpointsError(causes.length > 1 ? `No etcd endpoint answers: ${text}` : `etcd at ${text}`);
  }
}

function atMost({ connectMs, deadlineMs }: Waits, ms: number): Waits {
  return { connectMs: Math.min(connectMs, ms), deadlineMs: Math.min(deadlineMs, ms) };
}

function either(signal: AbortSignal | undefined, other: AbortSignal): AbortSignal {
  return signal ? AbortSignal.any([signal, other]) : other;
}
