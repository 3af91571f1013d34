/**
 * Several endpoints as one: calls go to the endpoint that answered last, and to the next when it fails.
 *
 * @module
 */
import { messageOf } from "../../errors.ts";
import { CompactedError, StoreError } from "../types.ts";
import { CallError, type Credentials, EtcdClient, loadEtcd3, type WatchStream } from "./client.ts";
import type { Endpoint } from "./endpoints.ts";
import { classify, type Fault } from "./faults.ts";
import type { CallName, Calls } from "./messages.ts";

/** Longest wait for a connection: a dropped SYN costs this much before the next endpoint is asked. */
const CONNECT_MS = 1000;
/**
 * Waits for an answer in the first round over all endpoints, where there is another to ask, and in the last:
 * a busy server may need longer.
 */
const FIRST_DEADLINE_MS = 1500;
const LAST_DEADLINE_MS = 6000;

/** No endpoint gave an answer; a later call may succeed. */
export class EndpointsError extends Error {
  override readonly name = "EndpointsError";
}

/** All endpoints of one cluster. */
export class EtcdPool implements Disposable {
  readonly #clients = new Map<Endpoint, EtcdClient>();
  readonly #watches = new Set<WatchStream>();
  #current = 0;
  #closed = false;
  /** Fires when the connections of now are given up. */
  #dropped = new AbortController();

  constructor(readonly endpoints: readonly Endpoint[], readonly credentials: Credentials) {}

  /**
   * Makes the call at the first endpoint that answers. A request may be made twice, if the answer to the
   * first is lost: it must allow that.
   *
   * @throws {StoreError} If waiting won't help. @throws {CompactedError} If the revision is gone.
   * @throws {EndpointsError} If no endpoint answers, with each one's cause.
   */
  call<N extends CallName>(
    name: N,
    request: Calls[N]["request"],
    signal?: AbortSignal,
  ): Promise<Calls[N]["response"]> {
    return this.#try(
      (client, deadlineMs) =>
        client.call(name, request, deadlineMs, CONNECT_MS, either(signal, this.#dropped.signal)),
      signal,
    );
  }

  /**
   * Opens a watch stream at the first endpoint where `start` succeeds with it, and says which that was.
   * Errors as {@link call}.
   *
   * @param start Gets the stream and must reject, once `deadlineMs` have passed, with a {@link CallError}.
   */
  watch<T>(
    start: (stream: WatchStream, deadlineMs: number) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<{ started: T; endpoint: Endpoint }> {
    return this.#try(async (client, deadlineMs) => {
      const stream = await client.openWatch(deadlineMs, CONNECT_MS, either(signal, this.#dropped.signal));
      this.#watches.add(stream);
      stream.on("status", () => this.#watches.delete(stream));
      try {
        return { started: await start(stream, deadlineMs), endpoint: client.endpoint };
      } catch (error) {
        stream.cancel();
        throw error;
      }
    }, signal);
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
    if (fault.kind === "token") this.#clients.get(endpoint)?.forgetToken();
    return toError(fault, [`${endpoint.url}: ${fault.cause}`]);
  }

  async #try<T>(
    attempt: (client: EtcdClient, deadlineMs: number) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const deadlines = this.endpoints.length > 1 ? [FIRST_DEADLINE_MS, LAST_DEADLINE_MS] : [LAST_DEADLINE_MS];
    let faults: { endpoint: Endpoint; fault: Fault }[] = [];
    for (const deadlineMs of deadlines) {
      faults = [];
      const first = this.#current;
      for (let i = 0; i < this.endpoints.length; i++) {
        const index = (first + i) % this.endpoints.length;
        const endpoint = this.endpoints[index]!;
        const outcome = await this.#attempt(endpoint, attempt, deadlineMs, signal);
        if (!("fault" in outcome)) {
          this.#current = index;
          return outcome.value;
        }
        faults.push({ endpoint, fault: outcome.fault });
      }
      // Only slowness is worth asking all of them again at once.
      if (!faults.some(({ fault }) => /no answer in time/.test(fault.cause))) break;
    }
    const worst = faults.every(({ fault }) => fault.kind === "fatal") ? "fatal" : "endpoint";
    throw toError(
      { kind: worst, cause: "" },
      faults.map(({ endpoint, fault }) => `${endpoint.url}: ${fault.cause}`),
    );
  }

  /** One endpoint, with one more login if its session has ended. Throws what no other endpoint would mend. */
  async #attempt<T>(
    endpoint: Endpoint,
    attempt: (client: EtcdClient, deadlineMs: number) => Promise<T>,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<{ value: T } | { fault: Fault }> {
    for (let login = 0;; login++) {
      try {
        return { value: await attempt(await this.#client(endpoint), deadlineMs) };
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof CallError)) throw error;
        const fault = classify(error);
        if (fault.kind === "token" && login === 0) {
          this.#clients.get(endpoint)?.forgetToken();
          continue;
        }
        // Certificates differ from endpoint to endpoint; users and revisions are the cluster's.
        const elsewhere = fault.kind === "endpoint" || (fault.kind === "fatal" && error.code === 14);
        if (elsewhere) return { fault };
        throw toError(fault, [`${endpoint.url}: ${fault.cause}`]);
      }
    }
  }

  async #client(endpoint: Endpoint): Promise<EtcdClient> {
    const etcd3 = await loadEtcd3();
    if (this.#closed) throw new Error("The store is closed");
    let client = this.#clients.get(endpoint);
    if (!client) {
      try {
        client = new EtcdClient(etcd3, endpoint, this.credentials);
      } catch (cause) {
        const why = messageOf(cause);
        throw new StoreError(`Cannot use the certificates for ${endpoint.url}: ${why}`, { cause });
      }
      this.#clients.set(endpoint, client);
    }
    return client;
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
      return new StoreError(`Cannot use etcd at ${text}`);
    case "compacted":
      return new CompactedError(`etcd no longer keeps this revision (${text})`);
    default:
      return new EndpointsError(causes.length > 1 ? `No etcd endpoint answers: ${text}` : `etcd at ${text}`);
  }
}

function either(signal: AbortSignal | undefined, other: AbortSignal): AbortSignal {
  return signal ? AbortSignal.any([signal, other]) : other;
}
