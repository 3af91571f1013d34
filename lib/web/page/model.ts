/**
 * What the page knows: the daemon's state and the peers, and what is searched for.
 *
 * @module
 */
import { counted, numbered } from "./format.ts";
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
    ...[peer.reserved ? "reserved" : "", describeState({ ...peer, state })],
  ].join(" ").toLowerCase();
  // Comparing numerically with each sort takes 200 ms of 2,000 peers.
  const order = (peer.subnets[0] ?? "").replace(/\d+/g, (number) => number.padStart(4, "0"));
  return { ...peer, state, text, order };
}

/** The verdict on the last probes counts before their numbers: those are of 20 rounds, and follow a fault slowly. */
function stateOf({ problem, awaited, probe, paths }: PagePeer): PeerState {
  if (problem !== null) return "bad";
  if (awaited) return "quiet";
  if (!probe) return paths.length > 0 ? "fast" : "quiet";
  const { severity = probe.loss === 1 ? "fault" : probe.loss > 0 ? "warning" : "ok", rttMs } = probe;
  if (severity === "fault") return "bad";
  if (severity === "unknown") return "quiet";
  if (severity === "warning") return "slow";
  return rttMs === null || rttMs <= FAST_MS ? "fast" : rttMs <= MEDIUM_MS ? "medium" : "slow";
}

/** How the other hosts are, in a sentence. */
export function summarize(peers: Iterable<Peer>): string {
  const hosts = [...peers].filter(({ awaited }) => !awaited);
  if (hosts.length === 0) return "It is the only host so far.";
  const of = (state: PeerState) => hosts.filter((peer) => peer.state === state).length;
  // What nobody measures is set up, and not more.
  const well = hosts.every(({ probe }) => probe) ? "reached" : "set up";
  const worst = (["bad", "quiet", "slow"] as const).find((state) => of(state) > 0);
  if (hosts.length === 1) return OF_ONE[worst ?? well];
  const all = counted(hosts.length, "peer");
  return worst ? `Of its ${all}, ${numbered(of(worst))} ${OF_SOME[worst]}.` : `${OF_ALL[well]} ${all}.`;
}

const OF_ONE = {
  bad: "Its only peer can't be reached, or not fully.",
  quiet: "Its only peer has no path, or doesn't answer.",
  slow: "Its only peer answers slowly or with losses.",
  "set up": "The path to its only peer is set up.",
  reached: "Its only peer can be reached.",
} as const;

const OF_SOME = {
  bad: "can't be reached, or not fully",
  quiet: "without a path or an answer",
  slow: "slow or with losses",
} as const;

const OF_ALL = { "set up": "Paths are set up to all of its", reached: "It reaches all of its" } as const;

/** How a peer is, in words. */
export function describeState(
  { problem, awaited, probe, state }: Pick<Peer, "problem" | "awaited" | "probe" | "state">,
): string {
  if (problem !== null) return problem;
  if (awaited) return "reserved: its host has not been here yet";
  if (!probe) return state === "fast" ? SET_UP : STATE_TEXT[state];
  const isWell = probe.severity === undefined || probe.severity === "ok";
  if (!isWell && probe.text !== undefined) return probe.text;
  return probe.loss === 1 && state === "bad" ? "no answer" : STATE_TEXT[state];
}

/** A path that nobody measures. */
export const SET_UP = "set up";

/** What each state is called. */
export const STATE_TEXT: Readonly<Record<PeerState, string>> = {
  fast: "fine",
  medium: "far",
  slow: "slow or lossy",
  bad: "problem",
  quiet: "no path or answer",
};
