/**
 * From peers to kernel entries: each change of a peer becomes the work of that peer.
 *
 * @module
 */
import { NO_ENTRIES } from "../backend/peer_plan.ts";
import type { HostPlan, PeerView } from "../backend/types.ts";
import type { HostKeeper } from "../kernel/host_keeper.ts";
import type { Lease } from "../leases/types.ts";
import type { Log, Metrics } from "../observe/types.ts";
import { PEER_PROBLEMS } from "./metrics.ts";

/** Peers that can't be reached are named one by one up to this many at a time. */
const NAMED = 5;

/** Keeps the host's entries in step with the peers. */
export class PeerEntries implements Disposable {
  readonly #peers: PeerView;
  readonly #host: HostKeeper;
  readonly #log: Log;
  readonly #problems = new Map<string, string>();
  readonly #collector: Disposable;
  #subscription: Disposable | undefined;
  #plan: HostPlan;

  constructor(
    peers: PeerView,
    host: HostKeeper,
    plan: HostPlan,
    { log, metrics }: { readonly log: Log; readonly metrics: Metrics },
  ) {
    this.#peers = peers;
    this.#host = host;
    this.#plan = plan;
    this.#log = log;
    this.#collector = metrics.onCollect(() => metrics.gauge(PEER_PROBLEMS, this.#problems.size));
  }

  /** Takes the peers that are known now, and follows their changes from then on. The host has its plan by then. */
  follow(): void {
    this.#subscription = this.#peers.subscribe((changes) => this.#apply(changes));
    this.replan(this.#plan);
  }

  /** Peers that can't be reached (or not fully), with the reason. */
  get problems(): ReadonlyMap<string, string> {
    return this.#problems;
  }

  /** Another plan: every peer's entries are computed again; only what differs is written. */
  replan(plan: HostPlan): void {
    this.#plan = plan;
    this.#apply(this.#peers.peers);
  }

  [Symbol.dispose](): void {
    this.#subscription?.[Symbol.dispose]();
    this.#collector[Symbol.dispose]();
  }

  /** @param peers By lease key; undefined: gone. */
  #apply(peers: Iterable<readonly [string, Lease | undefined]>): void {
    const fresh: { readonly key: string; readonly outcome: string }[] = [];
    const planned = Array.from(peers, ([key, peer]) => {
      const plan = peer ? this.#plan.forPeer(peer) : NO_ENTRIES;
      const { entries, paths } = plan;
      // A host that is yet to come is nothing that is wrong.
      const problem = this.#peers.isAwaited?.(key) ? undefined : plan.problem;
      if (problem && this.#problems.get(key) !== problem) {
        // A session's backend carries packets without entries.
        fresh.push({ key, outcome: `${paths.length === 0 ? "skipped" : "reached in part"}: ${problem}` });
      }
      if (problem) this.#problems.set(key, problem);
      else this.#problems.delete(key);
      return [key, entries] as const;
    });
    this.#host.setPeers(planned);
    for (const { key, outcome } of fresh.slice(0, NAMED)) this.#log.warn(`${key} ${outcome}`);
    if (fresh.length > NAMED) {
      this.#log.warn("more peers skipped; flanneld status lists them", { peers: fresh.length - NAMED });
    }
  }
}
