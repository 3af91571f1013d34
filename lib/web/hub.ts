/**
 * What goes to each page that is open: at first everything, then what changed.
 *
 * A stream remembers what it sent and compares when the reader has taken it: a slow reader gets fewer and larger
 * changes, and costs no memory. Rows are made once for all streams.
 *
 * @module
 */
import type { HttpStream } from "../observe/http_connection.ts";
import type { LogTail } from "../observe/log_tail.ts";
import { pause } from "../time/pause.ts";
import { Wake } from "../time/wake.ts";
import type { StatusDocument } from "../status/document.ts";
import type { PageEvents, PageOther, PagePeer, PageState } from "./events.ts";
import type { History } from "./history.ts";

/** What the page shows. */
export interface PageSource {
  /** The status with all peers. */
  document(): Promise<StatusDocument>;
  /** Whether a peer's lease never expires. */
  isReserved(key: string): boolean;
  readonly renewMargin: number;
  others(): readonly PageOther[];
  devices(): readonly string[];
  /** Calls back when peers change. */
  subscribe(onChange: () => void): Disposable;
  readonly history: History;
  readonly log: LogTail;
}

/** Peers in one event. */
const BATCH = 250;

/** A status is made at most every so many milliseconds, and at least every so many while somebody looks. */
const SHORTEST_MS = 500, LONGEST_MS = 5_000;

/** What a status is as text, to compare and to send. */
interface Snapshot {
  readonly state: string;
  /** By key. */
  readonly peers: ReadonlyMap<string, string>;
}

/** All open pages. */
export class PageHub {
  readonly #source: PageSource;
  #snapshot: Promise<Snapshot> | undefined;
  #madeAt = -Infinity;

  constructor(source: PageSource) {
    this.#source = source;
  }

  /** One page's events, until the signal fires. */
  readonly stream: HttpStream = async (send, signal) => {
    const { log, history } = this.#source;
    const wake = new Wake<"peers" | "log">(signal);
    using _peers = this.#source.subscribe(() => wake.up("peers"));
    using _log = log.subscribe(() => wake.up("log"));
    const sent = new Sent(send);
    for (let isFirst = true, logged = 0, sampled = 0; !signal.aborted; isFirst = false) {
      const lines = log.since(logged), samples = history.since(sampled);
      [logged, sampled] = [log.next, history.next];
      if (lines.length > 0) await event(send, "log", { lines });
      if (samples.length > 0) await event(send, "samples", { samples });
      await sent.update(await this.#current());
      if (isFirst) await event(send, "complete", {});
      await wake.within(LONGEST_MS);
      wake.take();
      await pause(SHORTEST_MS, signal);
    }
  };

  /** Made once for all streams that ask at the same time. */
  #current(): Promise<Snapshot> {
    const now = performance.now();
    if (!this.#snapshot || now - this.#madeAt > SHORTEST_MS / 2) {
      this.#madeAt = now;
      this.#snapshot = this.#make();
      // Who asked for it gets the error, and the next one another try.
      this.#snapshot.catch(() => this.#snapshot = undefined);
    }
    return this.#snapshot;
  }

  async #make(): Promise<Snapshot> {
    const source = this.#source;
    const { time: _, peers, ...rest } = await source.document();
    const { table, ...counts } = peers ?? {};
    const state = { ...rest, ...peers ? { peers: counts } : {} } as Omit<
      PageState,
      "renewMargin" | "devices" | "others"
    >;
    const whole: PageState = {
      ...state,
      renewMargin: source.renewMargin,
      devices: source.devices(),
      others: source.others(),
    };
    const rows = new Map<string, string>();
    for (const row of table?.rows ?? []) {
      const peer: PagePeer = source.isReserved(row.key) ? { ...row, reserved: true } : row;
      rows.set(row.key, JSON.stringify(peer));
    }
    return { state: JSON.stringify(whole), peers: rows };
  }
}

/** What one page was sent: the texts are the snapshot's own. */
class Sent {
  readonly #send: (text: string) => Promise<void>;
  #state = "";
  #peers: ReadonlyMap<string, string> = new Map();

  constructor(send: (text: string) => Promise<void>) {
    this.#send = send;
  }

  async update({ state, peers }: Snapshot): Promise<void> {
    if (state !== this.#state) await this.#send(`event: state\ndata: ${state}\n\n`);
    const before = this.#peers;
    const gone = [...before.keys()].filter((key) => !peers.has(key));
    const put = [...peers].filter(([key, text]) => before.get(key) !== text).map(([, text]) => text);
    for (let at = 0; at < Math.max(put.length, gone.length); at += BATCH) {
      const keys = JSON.stringify(gone.slice(at, at + BATCH));
      await this.#send(`event: peers\ndata: {"put":[${put.slice(at, at + BATCH)}],"gone":${keys}}\n\n`);
    }
    this.#state = state;
    this.#peers = peers;
  }
}

function event<Name extends keyof PageEvents>(
  send: (text: string) => Promise<void>,
  name: Name,
  data: PageEvents[Name],
): Promise<void> {
  return send(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
}
