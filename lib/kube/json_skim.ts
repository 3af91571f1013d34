/**
 * Reads a stream of JSON and keeps a few fields of it: the rest is skipped byte by byte and never becomes a value.
 *
 * A Node is some 20 KB, of which flannel needs 500 bytes; 5,000 of them are 100 MB. Memory is bounded by the largest
 * field that is kept, whatever the size of the stream, and chunks may end anywhere, also within a character.
 *
 * @module
 */

/** A value as JSON.parse gives it. */
export type SkimmedJson = null | boolean | number | string | SkimmedJson[] | { [key: string]: SkimmedJson };

/**
 * What to keep of a value: all of it, some keys of an object, or the elements of an array one by one, each of which is
 * handed over when it is complete and then forgotten.
 */
export type Pick = "all" | PickKeys | PickEach;

/** Some keys of an object; the value of every other key is skipped. A value that isn't an object is skipped. */
export interface PickKeys {
  readonly keys: Readonly<Record<string, Pick>>;
}

/** The elements of an array. */
export interface PickEach {
  readonly each: Pick;
  onElement(value: SkimmedJson): void;
}

/** The stream isn't JSON, or ends within a value. */
export class SkimError extends Error {
  override readonly name = "SkimError";
}

const QUOTE = 0x22, BACKSLASH = 0x5c, COMMA = 0x2c, COLON = 0x3a;
const OPEN_OBJECT = 0x7b, CLOSE_OBJECT = 0x7d, OPEN_ARRAY = 0x5b, CLOSE_ARRAY = 0x5d;

/** What a value can begin with: a string, an object, an array, a number, true, false or null. */
const FIRST_BYTES: ReadonlySet<number> = new Set(
  [...'"{[-0123456789tfn'].map((character) => character.charCodeAt(0)),
);

/** What comes next. */
const VALUE = 0, FIRST_KEY = 1, KEY = 2, AFTER_KEY = 3, AFTER_VALUE = 4, FIRST_ELEMENT = 5, RUN = 6;

/** A container whose inside is looked at. */
interface Frame {
  readonly pick: PickKeys | PickEach;
  readonly isArray: boolean;
  readonly value: { [key: string]: SkimmedJson };
  key: string;
}

/** Deepest nesting that is skipped or kept; the API server's objects have some ten. */
const MAX_DEPTH = 1_000;

/** Longest field that is kept, in bytes: an object of the API server has 1.5 MB at most. */
const MAX_KEPT = 4 * 1024 * 1024;

/** See the module's text. */
export class JsonSkimmer {
  readonly #root: Pick;
  readonly #onValue: (value: SkimmedJson) => void;
  readonly #frames: Frame[] = [];
  #state = VALUE;
  /** The run of bytes that is passed over as a whole: a key, or a value that is kept or skipped. */
  #runIs: "key" | "kept" | "skipped" = "skipped";
  #runDepth = 0;
  #runInString = false;
  #runIsScalar = false;
  #escaped = false;
  #kept = new Uint8Array(512);
  #keptLength = 0;

  /**
   * @param pick What to keep of each value of the stream.
   * @param onValue Called with what was kept of each value. Values follow each other, as a watch's events do.
   */
  constructor(pick: Pick, onValue: (value: SkimmedJson) => void) {
    this.#root = pick;
    this.#onValue = onValue;
  }

  /** Takes the next bytes; nothing of them is kept by reference. @throws {SkimError} If they aren't JSON. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === RUN) {
        at = this.#run(chunk, at);
        continue;
      }
      const byte = chunk[at]!;
      if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) at++;
      else at = this.#step(byte, at);
    }
  }

  /** The stream is over. @throws {SkimError} If it ends within a value. */
  end(): void {
    if (this.#frames.length === 0 && this.#state === RUN && this.#runIsScalar) this.#endRun();
    if (this.#frames.length > 0 || this.#state !== VALUE) throw new SkimError("The JSON ends within a value");
  }

  /** One byte between runs. @returns Where to go on: at this byte again, or behind it. */
  #step(byte: number, at: number): number {
    const frame = this.#frames.at(-1);
    switch (this.#state) {
      case FIRST_KEY:
        if (byte === CLOSE_OBJECT) return this.#closeFrame(at);
        return this.#startKey(byte, at);
      case KEY:
        return this.#startKey(byte, at);
      case AFTER_KEY:
        if (byte !== COLON) throw unexpected(byte, "a colon");
        this.#state = VALUE;
        return at + 1;
      case FIRST_ELEMENT:
        if (byte === CLOSE_ARRAY) return this.#closeFrame(at);
        return this.#startValue(byte, at);
      case AFTER_VALUE:
        if (byte === (frame!.isArray ? CLOSE_ARRAY : CLOSE_OBJECT)) return this.#closeFrame(at);
        if (byte !== COMMA) throw unexpected(byte, "a comma");
        this.#state = frame!.isArray ? VALUE : KEY;
        return at + 1;
      default:
        return this.#startValue(byte, at);
    }
  }

  #startKey(byte: number, at: number): number {
    if (byte !== QUOTE) throw unexpected(byte, "a key");
    this.#startRun("key", byte);
    return at;
  }

  #startValue(byte: number, at: number): number {
    const pick = this.#pickHere();
    if (byte === OPEN_OBJECT && pick !== undefined && pick !== "all" && "keys" in pick) {
      this.#frames.push({ pick, isArray: false, value: {}, key: "" });
      this.#state = FIRST_KEY;
      return at + 1;
    }
    if (byte === OPEN_ARRAY && pick !== undefined && pick !== "all" && "each" in pick) {
      this.#frames.push({ pick, isArray: true, value: {}, key: "" });
      this.#state = FIRST_ELEMENT;
      return at + 1;
    }
    this.#startRun(pick === "all" ? "kept" : "skipped", byte);
    return at;
  }

  /** What is to be kept of the value that begins here. */
  #pickHere(): Pick | undefined {
    const frame = this.#frames.at(-1);
    if (!frame) return this.#root;
    if ("each" in frame.pick) return frame.pick.each;
    return Object.hasOwn(frame.pick.keys, frame.key) ? frame.pick.keys[frame.key] : undefined;
  }

  #startRun(is: "key" | "kept" | "skipped", byte: number): void {
    if (!FIRST_BYTES.has(byte)) throw unexpected(byte, "a value");
    this.#runIs = is;
    this.#runDepth = 0;
    this.#runInString = false;
    this.#escaped = false;
    this.#runIsScalar = byte !== QUOTE && byte !== OPEN_OBJECT && byte !== OPEN_ARRAY;
    this.#keptLength = 0;
    this.#state = RUN;
  }

  /** Goes on with a run. @returns Where it ends in this chunk: behind its last byte, or the chunk's end. */
  #run(chunk: Uint8Array, from: number): number {
    const end = this.#runIsScalar ? endOfScalar(chunk, from) : this.#endOfNested(chunk, from);
    const stop = end < 0 ? chunk.length : end;
    if (this.#runIs !== "skipped") this.#keep(chunk.subarray(from, stop));
    if (end >= 0) this.#endRun();
    return stop;
  }

  /** Where a string, object or array ends that began here or in an earlier chunk; -1: in a later chunk. */
  #endOfNested(chunk: Uint8Array, from: number): number {
    let depth = this.#runDepth, inString = this.#runInString, escaped = this.#escaped;
    const length = chunk.length;
    let at = from;
    for (; at < length; at++) {
      const byte = chunk[at]!;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) {
          inString = false;
          if (depth === 0) return at + 1;
        }
      } else if (byte === QUOTE) inString = true;
      else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        if (++depth > MAX_DEPTH) throw new SkimError(`The JSON is nested more than ${MAX_DEPTH} deep`);
      } else if ((byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) && --depth === 0) return at + 1;
    }
    this.#runDepth = depth;
    this.#runInString = inString;
    this.#escaped = escaped;
    return -1;
  }

  #keep(bytes: Uint8Array): void {
    const length = this.#keptLength + bytes.length;
    if (length > MAX_KEPT) throw new SkimError(`A field of the JSON has more than ${MAX_KEPT} bytes`);
    if (length > this.#kept.length) {
      const larger = new Uint8Array(Math.max(length, this.#kept.length * 2));
      larger.set(this.#kept.subarray(0, this.#keptLength));
      this.#kept = larger;
    }
    this.#kept.set(bytes, this.#keptLength);
    this.#keptLength = length;
  }

  #endRun(): void {
    if (this.#runIs === "key") {
      this.#frames.at(-1)!.key = this.#parseKept() as string;
      this.#state = AFTER_KEY;
    } else this.#finish(this.#runIs === "kept" ? this.#parseKept() : undefined);
  }

  #parseKept(): SkimmedJson {
    const text = decoder.decode(this.#kept.subarray(0, this.#keptLength));
    try {
      return JSON.parse(text) as SkimmedJson;
    } catch (cause) {
      throw new SkimError(`Not JSON: ${JSON.stringify(text.slice(0, 80))}`, { cause });
    }
  }

  #closeFrame(at: number): number {
    const frame = this.#frames.pop()!;
    this.#finish(frame.isArray ? undefined : frame.value);
    return at + 1;
  }

  /** A value is complete; undefined: it was skipped, or handed over in parts. */
  #finish(value: SkimmedJson | undefined): void {
    const frame = this.#frames.at(-1);
    this.#state = frame ? AFTER_VALUE : VALUE;
    if (!frame) this.#onValue(value ?? null);
    else if ("each" in frame.pick) frame.pick.onElement(value ?? null);
    else if (value !== undefined) frame.value[frame.key] = value;
  }
}

const decoder = new TextDecoder();

/** Where a number or word ends; -1: in a later chunk. The byte at the end belongs to what follows. */
function endOfScalar(chunk: Uint8Array, from: number): number {
  for (let at = from; at < chunk.length; at++) {
    const byte = chunk[at]!;
    if (byte === COMMA || byte === CLOSE_OBJECT || byte === CLOSE_ARRAY || byte <= 0x20) return at;
  }
  return -1;
}

function unexpected(byte: number, wanted: string): SkimError {
  return new SkimError(`Not JSON: ${wanted} expected, found ${JSON.stringify(String.fromCharCode(byte))}`);
}
