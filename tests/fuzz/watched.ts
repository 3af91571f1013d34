/**
 * Fuzzing in a worker that is watched from outside: a decoder that never comes back is a finding, too.
 *
 * @module
 */
import { keepInput } from "./corpus.ts";
import type { Finding, FuzzLimits, FuzzResult } from "./run.ts";

/** One input may take this long, in milliseconds: with room for a machine that does other work. */
const INPUT_LIMIT = 40_000;
/** Loading the worker's modules, or a decoder's libraries, may take this long, in milliseconds. */
const LOAD_LIMIT = 120_000;
/** How often the watcher looks, in milliseconds. */
const LOOK_EVERY = 100;
/** The longest input that the watcher can report. */
const INPUT_ROOM = 1 << 18;

/** What worker and watcher share: how many inputs were given, and the one at hand. */
export interface SharedInput {
  /** Words: inputs given, length of the one at hand. */
  readonly state: SharedArrayBuffer;
  readonly bytes: SharedArrayBuffer;
}

/** What the worker is asked for. */
export interface FuzzJob {
  readonly target: string;
  readonly limits: FuzzLimits;
}

/** What may be otherwise. */
export interface WatchOptions {
  /** Milliseconds that one input may take. @default 40 s */
  readonly inputLimit?: number;
  /** Keeps what is found in the corpus. @default true */
  readonly keep?: boolean;
}

/** How one decoder fared: the finding is kept in the corpus. */
export interface WatchedResult extends FuzzResult {
  readonly target: string;
  /** Where the input of the finding is kept. */
  readonly kept?: string;
}

/**
 * Runs one decoder after another, each in turn in one worker.
 *
 * @param onResult Called when a decoder is done.
 */
export async function fuzzWatched(
  jobs: readonly FuzzJob[],
  onResult: (result: WatchedResult) => void,
  { inputLimit = INPUT_LIMIT, keep = true }: WatchOptions = {},
): Promise<void> {
  let fuzzer: Fuzzer | undefined;
  try {
    for (const job of jobs) {
      fuzzer ??= new Fuzzer();
      const result = await fuzzer.run(job, inputLimit);
      if (result === "hangs") {
        const what = `an input takes more than ${inputLimit / 1000} s`;
        const finding: Finding = { target: job.target, what, input: fuzzer.input() };
        fuzzer.end();
        fuzzer = undefined;
        const nothing = { inputs: 0, seconds: 0, slowest: inputLimit, heapGrowth: undefined };
        onResult(await kept(job, { ...nothing, finding }, keep));
      } else {
        onResult(await kept(job, result, keep));
      }
    }
  } finally {
    fuzzer?.end();
  }
}

async function kept(job: FuzzJob, result: FuzzResult, keep: boolean): Promise<WatchedResult> {
  const { finding } = result;
  if (!keep || !finding || finding.input.length === 0) return { ...result, target: job.target };
  const path = finding.file === undefined
    ? await keepInput(job.target, finding.input)
    : `tests/fuzz/corpus/${job.target}/${finding.file}`;
  return { ...result, target: job.target, kept: path };
}

/** One worker. */
class Fuzzer {
  readonly #worker = new Worker(new URL("worker.ts", import.meta.url), { type: "module" });
  readonly #shared: SharedInput = {
    state: new SharedArrayBuffer(8),
    bytes: new SharedArrayBuffer(INPUT_ROOM),
  };

  async run(job: FuzzJob, inputLimit: number): Promise<FuzzResult | "hangs"> {
    const { promise, resolve, reject } = Promise.withResolvers<FuzzResult | "hangs">();
    this.#worker.onmessage = ({ data }) => resolve(data as FuzzResult);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`${job.target}: ${event.message}`));
    };
    const words = new Int32Array(this.#shared.state);
    const before = Atomics.load(words, 0);
    let last = { inputs: before, at: performance.now() };
    const timer = setInterval(() => {
      const inputs = Atomics.load(words, 0);
      if (inputs !== last.inputs) last = { inputs, at: performance.now() };
      else if (performance.now() - last.at > (inputs === before ? LOAD_LIMIT : inputLimit)) resolve("hangs");
    }, LOOK_EVERY);
    this.#worker.postMessage({ job, shared: this.#shared });
    try {
      return await promise;
    } finally {
      clearInterval(timer);
    }
  }

  /** The input at hand. */
  input(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#shared.bytes).slice(0, Atomics.load(new Int32Array(this.#shared.state), 1));
  }

  end(): void {
    this.#worker.terminate();
  }
}
