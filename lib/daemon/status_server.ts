/**
 * Where the daemon reports its state: on -healthz-port, and on a Unix socket beside the subnet file for
 * `flanneld status`.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { JsonObject } from "../config/types.ts";
import { dirname } from "node:path";
import type { Options } from "../options/table.ts";
import { type HealthOptions, type HealthServer, serveHealth, serveHealthLocally } from "../observe/http.ts";
import type { MetricsRegistry } from "../observe/metrics.ts";
import type { Problems } from "../observe/problems.ts";
import type { Log } from "../observe/types.ts";
import {
  type MemberStatus,
  type PeerDetail,
  SCHEMA_VERSION,
  type StatusDocument,
} from "../status/document.ts";
import { systemClock } from "../time/clock.ts";
import { pause } from "../time/pause.ts";
import { Throttle } from "../time/throttle.ts";
import { accessOf } from "./web_access.ts";
import { VERSION_TEXT } from "../version.ts";

/** What is served. */
export interface StatusServices {
  readonly problems: Problems;
  readonly metrics: MetricsRegistry;
  readonly log: Log;
  /** Answers for the page on the health port. */
  readonly page?: NonNullable<HealthOptions["page"]>;
}

/** The socket for `flanneld status`: `/run/flannel/subnet.sock` beside `/run/flannel/subnet.env`. */
export function statusSocketPath(options: Pick<Options, "subnetFile">): string {
  return options.subnetFile.replace(/(\.[^./]*)?$/, ".sock");
}

/** What a host in the network says; nothing before it is in. */
type MemberView = (detail: PeerDetail) => Promise<MemberStatus | Record<string, never>>;

/** How much of the peers a request asks for. @throws {RangeError} */
function detailOf(query: URLSearchParams): PeerDetail {
  const detail = query.get("peers") ?? "counts";
  if (detail === "counts" || detail === "summary" || detail === "all") return detail;
  throw new RangeError("peers must be counts, summary or all");
}

/** An error in answers gets one log line in this many milliseconds. */
const ERROR_LINE_MS = 60_000;

/** How often it is looked whether the Unix socket is still there, in milliseconds. */
const LOOK_MS = 2_000;

/** Serves until it is disposed. */
export class StatusServer implements AsyncDisposable {
  readonly #http: HealthServer | undefined;
  readonly #options: HealthOptions;
  readonly #path: string;
  readonly #problems: Problems;
  #socket: HealthServer | undefined;
  readonly #startedAt = new Date().toISOString();
  #member: MemberView = () => Promise.resolve({});
  #peers: () => JsonObject | Promise<JsonObject> = () => ({});

  /** @throws {ListenError} If -healthz-ip and -healthz-port can't be listened on. */
  constructor(options: Options, { problems, metrics, log, page }: StatusServices) {
    this.#problems = problems;
    const throttle = new Throttle(systemClock, ERROR_LINE_MS);
    this.#path = statusSocketPath(options);
    this.#options = {
      problems,
      metrics,
      status: (query) => this.document(detailOf(query)),
      onError: (error) => {
        const message = messageOf(error);
        if (throttle.pass(message) !== undefined) log.error("Cannot answer a request", { error: message });
      },
      onAcceptError: this.#acceptReport("status socket"),
    };
    const { healthzIp: address, healthzPort: port } = options;
    const onAcceptError = this.#acceptReport("health port");
    this.#http = port > 0
      ? serveHealth({
        ...this.#options,
        ...accessOf(options),
        ...page ? { page } : {},
        ...{ address, port, onAcceptError },
      })
      : undefined;
  }

  #acceptReport(key: string): HealthOptions["onAcceptError"] {
    return (message) => {
      if (message === undefined) this.#problems.clear(key, "accepts connections");
      else this.#problems.set(key, `cannot accept connections, retrying: ${message}`);
    };
  }

  /** Sets what /status shows beyond version and readiness. */
  show(member: MemberView): void {
    this.#member = member;
  }

  /** What /status shows. */
  async document(detail: PeerDetail): Promise<StatusDocument> {
    const member = await this.#member(detail);
    const notReady = this.#problems.notReady();
    return {
      schemaVersion: SCHEMA_VERSION,
      version: VERSION_TEXT,
      time: new Date().toISOString(),
      startedAt: this.#startedAt,
      host: { name: Deno.hostname() },
      ready: notReady.length === 0,
      notReady,
      problems: this.#problems.list().map(({ key, text, since }) => ({
        problem: `${key}: ${text}`,
        since: new Date(since).toISOString(),
      })),
      ...member,
    };
  }

  /** Sets what /peers shows, on the Unix socket only. */
  showPeers(peers: () => Promise<JsonObject>): void {
    this.#peers = peers;
  }

  /**
   * Serves on the Unix socket until the signal fires; one that somebody deletes is made again. Without one only
   * `flanneld status` is missing.
   */
  async serveLocally(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (!this.#socket || !await isThere(this.#path)) await this.#openSocket();
      await pause(LOOK_MS, signal);
    }
  }

  async #openSocket(): Promise<void> {
    try {
      await this.#socket?.[Symbol.asyncDispose]();
      this.#socket = undefined;
      await Deno.mkdir(dirname(this.#path), { recursive: true });
      // Of a daemon that was killed: the lock says that none runs.
      if (await isThere(this.#path)) await Deno.remove(this.#path);
      this.#socket = serveHealthLocally(this.#path, { ...this.#options, peers: () => this.#peers() });
      await Deno.chmod(this.#path, 0o600);
      this.#problems.clear("status socket", "open");
    } catch (error) {
      this.#problems.set("status socket", `cannot serve flanneld status, retrying: ${messageOf(error)}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#http?.[Symbol.asyncDispose](), this.#socket?.[Symbol.asyncDispose]()]);
    if (this.#socket) await Deno.remove(this.#path).catch(() => {});
  }
}

async function isThere(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}
