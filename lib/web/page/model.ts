/**
 * What the page knows: the daemon's state and the peers, and what is searched for.
 *
 * @module
 */
import type { PageEvents, PagePeer, PageSample, PageState } from "../events.ts";

/** How a tunnel is, which is its colour. */
export type PeerState = "fast" | "medium" | "slow" | "bad" | "quiet";

/** Round trips up to these many milliseconds are fast, medium. */
export const FAST_MS = 5, MEDIUM_MS = 50;

/** A peer with what is derived from it once. */
export interface Peer extends PagePeer {
  readonly state: PeerState;
  /** All that can be searched for, in small letters. */
  readonly text: string;
  /** Sorts by subnet as text: numbers have leading zeros. */
  readonly order: string;
}

/** Samples and lines that are kept. */
const SAMPLES = 180, LINES = 200;

/** The page's data. */
export class Model {
  state: PageState | undefined;
  readonly peers = new Map<string, Peer>();
  readonly samples: PageSample[] = [];
  readonly lines: string[] = [];
  /** Whether all peers have come once since the connection was made. */
  complete = false;
  /** What is searched for, in small letters, a word each. */
  words: readonly string[] = [];
  /** Key of the peer whose details are shown. */
  chosen: string | undefined;

  /** A new connection: everything comes again. */
  restart(): void {
    this.peers.clear();
    this.samples.length = this.lines.length = 0;
    this.complete = false;
  }

  take<Name extends keyof PageEvents>(name: Name, data: PageEvents[Name]): void {
    const event = { [name]: data } as Partial<PageEvents>;
    if (event.state) this.state = event.state;
    for (const peer of event.peers?.put ?? []) this.peers.set(peer.key, derive(peer));
    for (const key of event.peers?.gone ?? []) this.peers.delete(key);
    if (event.samples) keep(this.samples, event.samples.samples, SAMPLES);
    if (event.log) keep(this.lines, event.log.lines, LINES);
    if (event.complete) this.complete = true;
  }

  get searches(): boolean {
    return this.words.length > 0;
  }

  matches(text: string): boolean {
    return this.words.every((word) => text.includes(word));
  }

  /** The peers that are searched for, all without a search. */
  found(): Peer[] {
    const all = [...this.peers.values()];
    return this.searches ? all.filter(({ text }) => this.matches(text)) : all;
  }
}

function keep<T>(list: T[], more: readonly T[], most: number): void {
  list.push(...more);
  if (list.length > most) list.splice(0, list.length - most);
}

function derive(peer: PagePeer): Peer {
  const state = stateOf(peer);
  const text = [
    ...[peer.key, peer.host, ...peer.subnets, ...peer.publicIps, ...peer.paths, peer.backendType ?? ""],
    ...[peer.problem ?? "", peer.reserved ? "reserved" : "", STATE_TEXT[state]],
  ].join(" ").toLowerCase();
  // Comparing numerically with each sort takes 200 ms of 2,000 peers.
  const order = (peer.subnets[0] ?? "").replace(/\d+/g, (number) => number.padStart(4, "0"));
  return { ...peer, state, text, order };
}

function stateOf({ problem, probe, paths }: PagePeer): PeerState {
  if (problem !== null || probe?.loss === 1) return "bad";
  if (!probe || probe.rttMs === null) return paths.length > 0 ? "fast" : "quiet";
  if (probe.loss > 0) return "slow";
  return probe.rttMs <= FAST_MS ? "fast" : probe.rttMs <= MEDIUM_MS ? "medium" : "slow";
}

/** What each state is called. */
export const STATE_TEXT: Readonly<Record<PeerState, string>> = {
  fast: "fine",
  medium: "far",
  slow: "slow or lossy",
  bad: "problem",
  quiet: "no path",
};
