/**
 * Pings between all pairs of containers, all the time: when each pair answered.
 *
 * @module
 */
import type { Container } from "../lab/container.ts";
import type { Lab } from "../lab/lab.ts";

/** Between two pings of a pair, in milliseconds. */
const INTERVAL = 100;
/** Answers older than this are forgotten, in milliseconds. */
const MEMORY = 5 * 60_000;

/** One direction of a pair over one family. */
class PairPinger {
  /** Times of answers on the clock of performance.now(), in milliseconds, ascending. */
  #answers: number[] = [];

  constructor(readonly name: string, from: Container, address: string) {
    const child = from.spawn(["ping", "-n", "-i", `${INTERVAL / 1000}`, "-W", "1", address]);
    void child.stderr.cancel();
    void this.#read(child.stdout);
  }

  /** When the first answer after `time` came; undefined if none did. */
  firstAfter(time: number): number | undefined {
    return this.#answers.find((answer) => answer > time);
  }

  /** The longest time without an answer between `from` and `to`, in milliseconds. */
  longestGap(from: number, to: number): number {
    const inside = this.#answers.filter((answer) => answer > from && answer < to);
    const times = [from, ...inside, to];
    return Math.max(...times.slice(1).map((time, index) => time - times[index]!)) - INTERVAL;
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      // Lines may come in pieces; this word stands once in each.
      const now = performance.now();
      for (const _ of text.matchAll(/bytes from/g)) this.#answers.push(now);
      const old = this.#answers.findIndex((answer) => answer > now - MEMORY);
      if (old > 1000) this.#answers = this.#answers.slice(old);
    }
  }
}

/** All pairs of a lab. The pings end with the lab. */
export class Pinger {
  readonly #pairs: readonly PairPinger[];

  constructor(lab: Lab) {
    this.#pairs = lab.pairs().map(({ from, to, address }) =>
      new PairPinger(`${labelOf(from)} → ${labelOf(to)} (${address})`, from, address)
    );
  }

  /** Pairs without an answer since `time`. */
  silentSince(time: number): string[] {
    return this.#pairs.filter((pair) => pair.firstAfter(time) === undefined).map(({ name }) => name);
  }

  /** When every pair had answered after `time`; undefined while one hasn't. */
  allAnsweredAfter(time: number): number | undefined {
    const times = this.#pairs.map((pair) => pair.firstAfter(time));
    return times.every((each) => each !== undefined) ? Math.max(...times) : undefined;
  }

  /** The longest time without an answer that a pair had, in milliseconds. */
  longestGap(from: number, to: number): number {
    return Math.max(0, ...this.#pairs.map((pair) => pair.longestGap(from, to)));
  }
}

/** `flt-12-ab-h2c1` → `h2`. */
function labelOf(container: Container): string {
  return /(h\d+)c\d+$/.exec(container.name)?.[1] ?? container.name;
}
