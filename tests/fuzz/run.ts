/**
 * Gives inputs to one decoder: the whole corpus, then mutations of it.
 *
 * @module
 */
import { randomSource } from "../../scripts/lab/random.ts";
import { readCorpus } from "./corpus.ts";
import { makeInput } from "./mutate.ts";
import type { FuzzTarget } from "./target.ts";

/** How long it goes on, and with which numbers. */
export interface FuzzLimits {
  /** Mutated inputs, after the corpus. */
  readonly count: number;
  /** Seconds after which it stops in any case. */
  readonly seconds: number;
  readonly seed: number;
}

/** An input that a decoder can't take. */
export interface Finding {
  readonly target: string;
  readonly what: string;
  readonly input: Uint8Array<ArrayBuffer>;
  /** The corpus file, where it is one. */
  readonly file?: string;
}

/** How a run went. */
export interface FuzzResult {
  readonly inputs: number;
  readonly seconds: number;
  /** Milliseconds of the slowest input. */
  readonly slowest: number;
  /** Bytes of heap at the end beyond what there was after the first tenth; undefined without gc(). */
  readonly heapGrowth: number | undefined;
  readonly finding?: Finding;
}

/** The heap may grow so much from the first tenth of a run to its end, in bytes. */
const MAX_HEAP_GROWTH = 16 << 20;
/** Inputs between two looks at the clock, and yields to other work. */
const BATCH = 512;

/**
 * Runs until the limits or the first finding.
 *
 * @param onInput Called before each input; a watcher notices what then takes too long.
 */
export async function fuzz(
  target: FuzzTarget,
  limits: FuzzLimits,
  onInput: (input: Uint8Array) => void = () => {},
): Promise<FuzzResult> {
  const one = await target.open();
  const files = await readCorpus(target.name);
  const progress = { inputs: 0, slowest: 0 };
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const give = async (input: Uint8Array<ArrayBuffer>, file?: string): Promise<Finding | undefined> => {
    progress.inputs++;
    onInput(input);
    const before = performance.now();
    // The decoder may change what it is given; what is reported is what was given.
    const what = await faultOf(target, one, input.slice());
    progress.slowest = Math.max(progress.slowest, performance.now() - before);
    return what === undefined ? undefined : { target: target.name, what, input, ...(file ? { file } : {}) };
  };
  const done = (finding?: Finding, heapGrowth?: number): FuzzResult => ({
    ...{ inputs: progress.inputs, seconds: seconds(), slowest: progress.slowest, heapGrowth },
    ...(finding ? { finding } : {}),
  });
  for (const { name, bytes } of files) {
    const finding = await give(bytes, name);
    if (finding) return done(finding);
  }
  const random = randomSource(limits.seed);
  const material = {
    corpus: files.map(({ bytes }) => bytes),
    dictionary: target.dictionary.map((word) => new TextEncoder().encode(word)),
    maxLength: target.maxLength ?? 4096,
  };
  const heap = new HeapWatch();
  for (let i = 0; i < limits.count; i++) {
    const input = makeInput(random, material);
    const finding = await give(input);
    if (finding) return done(finding);
    if (i % BATCH !== BATCH - 1) continue;
    if (seconds() >= limits.seconds) break;
    if (Math.max(i / limits.count, seconds() / limits.seconds) >= 0.1) heap.begin();
  }
  const growth = heap.growth();
  if (growth !== undefined && growth > MAX_HEAP_GROWTH) {
    const what = `the heap grew by ${(growth / 2 ** 20).toFixed(1)} MiB over ${progress.inputs} inputs`;
    return done({ target: target.name, what, input: new Uint8Array() }, growth);
  }
  return done(undefined, growth);
}

/** What is wrong with how the decoder takes the input; undefined if nothing is. */
async function faultOf(
  target: FuzzTarget,
  one: Awaited<ReturnType<FuzzTarget["open"]>>,
  input: Uint8Array<ArrayBuffer>,
): Promise<string | undefined> {
  try {
    const pending = one(input);
    // Most decoders are synchronous, and a turn of the event loop costs more than they do.
    if (pending) await pending;
    return undefined;
  } catch (error) {
    // A TypeError is always a mistake of ours, whatever is declared.
    const declared = !(error instanceof TypeError) && target.errors.some((type) => error instanceof type);
    if (declared) return undefined;
    return error instanceof Error ? error.stack ?? `${error.name}: ${error.message}` : String(error);
  }
}

/** Measures the heap after a collection, where V8 lets us ask for one (--v8-flags=--expose-gc). */
class HeapWatch {
  #before: number | undefined;

  begin(): void {
    this.#before ??= this.#used();
  }

  growth(): number | undefined {
    const now = this.#used();
    return this.#before === undefined || now === undefined ? undefined : Math.max(0, now - this.#before);
  }

  #used(): number | undefined {
    const { gc } = globalThis as { gc?: () => void };
    if (!gc) return undefined;
    gc();
    return Deno.memoryUsage().heapUsed;
  }
}
