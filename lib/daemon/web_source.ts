/**
 * What the page gets from the daemon.
 *
 * @module
 */
import { cpuUsage } from "node:process";
import { readKernelFile } from "../ffi/kernel_file.ts";
import { OPERATIONS } from "../kernel/metrics.ts";
import { LEASE_EVENTS } from "../leases/metrics.ts";
import { familiesOf } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { PagePath } from "../observe/http.ts";
import type { HttpAnswer } from "../observe/http_connection.ts";
import type { LogTail } from "../observe/log_tail.ts";
import type { MetricsRegistry } from "../observe/metrics.ts";
import type { Problems } from "../observe/problems.ts";
import type { StatusDocument } from "../status/document.ts";
import type { PageOther, PageSample } from "../web/events.ts";
import { History } from "../web/history.ts";
import type { PageSource } from "../web/hub.ts";
import type { Member } from "./member.ts";

/** What it is made of. */
export interface WebParts {
  readonly metrics: MetricsRegistry;
  readonly problems: Problems;
  readonly log: LogTail;
  /** Seconds left of the lease when it is renewed. */
  readonly renewMargin: number;
  document(): Promise<StatusDocument>;
}

/** The daemon as the page sees it: at first without a member. */
export class WebSource implements PageSource {
  readonly history = new History();
  readonly log: LogTail;
  readonly renewMargin: number;
  readonly document: () => Promise<StatusDocument>;
  readonly #parts: WebParts;
  readonly #listeners = new Set<() => void>();
  #member: Member | undefined;
  #answers: Promise<{ answer(path: PagePath): Promise<HttpAnswer> }> | undefined;

  constructor(parts: WebParts) {
    this.#parts = parts;
    this.log = parts.log;
    this.renewMargin = parts.renewMargin;
    this.document = parts.document;
  }

  /** From here on the host is in the network. */
  join(member: Member): Disposable {
    this.#member = member;
    const notify = () => this.#listeners.forEach((listener) => listener());
    notify();
    return member.peers.subscribe(notify);
  }

  isReserved(key: string): boolean {
    return this.#member?.peers.get(key)?.reserved === true;
  }

  others(): readonly PageOther[] {
    return [...this.#member?.peers.others() ?? []].map(({ key, subnets, reserved }) => ({
      key,
      subnets: familiesOf(subnets).map(({ name }) => formatPrefix(subnets[name]!)),
      reserved,
    }));
  }

  subscribe(onChange: () => void): Disposable {
    this.#listeners.add(onChange);
    return { [Symbol.dispose]: () => void this.#listeners.delete(onChange) };
  }

  /** The devices that carry the network's packets: the own ones, or else the interface to the other hosts. */
  devices(): readonly string[] {
    if (!this.#member) return [];
    const own = this.#member.plan.links.map(({ name }) => name);
    return own.length > 0 ? own : [this.#member.external.name];
  }

  /** Answers a request for the page; what that takes is loaded with the first one. */
  async answer(path: PagePath): Promise<HttpAnswer> {
    this.#answers ??= import("../web/answers.ts").then(({ PageAnswers }) => new PageAnswers(this));
    return await (await this.#answers).answer(path);
  }

  /** Samples the counters until the signal fires. */
  record(signal: AbortSignal): Promise<void> {
    return this.history.record(() => this.#sample(), signal);
  }

  #sample(): PageSample {
    const { metrics, problems } = this.#parts;
    const devices = this.devices();
    const sum = (counter: string) => devices.reduce((total, name) => total + deviceCounter(name, counter), 0);
    const { user, system } = cpuUsage();
    return {
      at: Date.now(),
      receivedBytes: sum("rx_bytes"),
      sentBytes: sum("tx_bytes"),
      operations: metrics.sum(OPERATIONS.name),
      leaseEvents: metrics.sum(LEASE_EVENTS.name),
      peers: this.#member?.peers.peers.size ?? 0,
      problems: problems.list().length,
      cpuSeconds: (user + system) / 1e6,
      residentBytes: Deno.memoryUsage().rss,
    };
  }
}

/** A device that is away counts nothing: that it is away is a problem of its own. */
function deviceCounter(device: string, counter: string): number {
  try {
    return Number(readKernelFile(`/sys/class/net/${device}/statistics/${counter}`));
  } catch {
    return 0;
  }
}
