/**
 * Reading the keys of a JSON object that people write: names match whatever their case, every value is
 * checked, and all faults are collected instead of only the first.
 *
 * Matching follows Go's encoding/json, which the config's format comes from: a key matches its field without
 * regard to case, of several keys that match one field the last wins, and null leaves a field unset.
 *
 * @module
 */
import type { ConfigFault, Json, JsonObject } from "./types.ts";

/** What a field means, in the words of the reference (docs/configuration.md). */
export interface FieldText {
  /** One sentence without a full stop. */
  readonly help?: string;
  /** What the value is, where the rule itself doesn't say it. */
  readonly values?: string;
  /** The default in words, where it isn't always the same value. */
  readonly defaultText?: string;
}

/** One field as its reader declares it by reading it: the reference is made of these. */
export interface ConfigField extends FieldText {
  readonly key: string;
  /** What its value is: `true or false`, `1 to 65535`, `"auto", "on" or "off"`. */
  readonly values: string;
  /** Undefined: none. */
  readonly default: Json | undefined;
}

/** Range and default of a whole number. */
export interface IntegerRule extends FieldText {
  readonly min: number;
  readonly max: number;
  /** 0 means that the key is not set, whatever `min` says. */
  readonly zeroIsUnset?: boolean;
  /** Why the range is what it is, to stand after it: `for Network 10.5.0.0/24`. */
  readonly reason?: string;
}

/** What a string may be. */
export interface StringRule extends FieldText {
  /** The only values allowed; they match whatever their case, and the spelling given here is returned. */
  readonly oneOf?: readonly string[];
  /** The value is masked wherever it would be shown. */
  readonly secret?: boolean;
}

/** What stands in the place of a secret. */
const MASK = "***";

/**
 * Reads one object key by key. Each reading method returns the default for a key that is unset or at fault,
 * so that the caller goes on and finds the other faults; ask {@link faults} before using what was read.
 */
export class FieldReader {
  /** What is wrong so far. */
  readonly faults: ConfigFault[] = [];
  /** Every key read so far with its value or default, in the spelling that was asked for. */
  readonly complete: { [key: string]: Json } = {};
  /** Every field that was read, as it was declared. */
  readonly fields: ConfigField[] = [];
  readonly #values = new Map<string, Json>();
  readonly #spelling = new Map<string, string>();
  readonly #known = new Map<string, string>();
  readonly #path: string;

  /**
   * @param object The object to read.
   * @param path What to put before each key in messages: empty, or like `Backend.`.
   */
  constructor(object: JsonObject, path = "") {
    this.#path = path;
    for (const [key, value] of Object.entries(object)) {
      const folded = key.toLowerCase();
      if (!this.#spelling.has(folded)) this.#spelling.set(folded, key);
      if (value !== null) this.#values.set(folded, value);
    }
  }

  /** The value as it stands in the object, or undefined where it is unset. Marks the key as known. */
  raw(key: string): Json | undefined {
    this.#known.set(key.toLowerCase(), key);
    return this.#values.get(key.toLowerCase());
  }

  /** Whether the key is set. */
  has(key: string): boolean {
    return this.raw(key) !== undefined;
  }

  /** Declares a field that is read with {@link raw}. */
  declare(key: string, values: string, text: FieldText, fallback?: Json): void {
    this.fields.push({ ...text, key, values, default: fallback });
  }

  /** A boolean. */
  boolean(key: string, fallback: boolean, text: FieldText = {}): boolean {
    this.declare(key, "true or false", text, fallback);
    const value = this.raw(key);
    if (value === undefined || typeof value === "boolean") return this.keep(key, value ?? fallback);
    const hint = /^(true|false)$/i.test(String(value)) ? " without quotes" : "";
    this.fault(key, `must be true or false${hint}`);
    return this.keep(key, fallback);
  }

  /** A whole number in the rule's range. A key without value and without default is left out of `complete`. */
  integer(key: string, rule: IntegerRule, fallback: number): number;
  integer(key: string, rule: IntegerRule, fallback?: number): number | undefined;
  integer(key: string, rule: IntegerRule, fallback?: number): number | undefined {
    this.declare(key, rule.values ?? `${rule.min} to ${rule.max}`, textOf(rule), fallback);
    const value = this.raw(key);
    if (value === undefined || (value === 0 && rule.zeroIsUnset)) return this.keep(key, fallback);
    const inRange = typeof value === "number" && Number.isInteger(value) &&
      value >= rule.min && value <= rule.max;
    if (inRange) return this.keep(key, value);
    const range = `between ${rule.min} and ${rule.max}${rule.reason ? ` ${rule.reason}` : ""}`;
    this.fault(key, `must be ${describeInteger(value)}${range}`);
    return this.keep(key, fallback);
  }

  /** A string; the empty one counts as unset. */
  string(key: string, rule: StringRule, fallback: string): string;
  string(key: string, rule: StringRule, fallback?: string): string | undefined;
  string(key: string, rule: StringRule, fallback?: string): string | undefined {
    const words = rule.oneOf && listWords(rule.oneOf.map((word) => JSON.stringify(word)));
    this.declare(key, words ?? rule.values ?? "text", textOf(rule), fallback);
    const keep = (value: string | undefined) => this.keep(key, value, rule.secret && value ? MASK : value);
    const value = this.raw(key);
    if (value === undefined || value === "") return keep(fallback);
    if (typeof value !== "string") {
      this.fault(key, "must be a string in double quotes", rule.secret);
      return keep(fallback);
    }
    if (!rule.oneOf) return keep(value);
    const match = rule.oneOf.find((word) => word.toLowerCase() === value.toLowerCase());
    if (match === undefined) this.fault(key, `must be one of ${rule.oneOf.join(", ")}`, rule.secret);
    return keep(match ?? fallback);
  }

  /** One string or an array of strings, as a list; empty strings are a fault. Unset: the empty list. */
  strings(key: string, text: FieldText = {}): readonly string[] {
    this.declare(key, "text, or a list of texts", text);
    const value = this.raw(key);
    if (value === undefined || value === "") return this.keep(key, []);
    const list = Array.isArray(value) ? value : [value];
    if (list.every((item): item is string => typeof item === "string" && item !== "")) {
      return this.keep(key, list);
    }
    this.fault(key, "must be a string in double quotes or an array of such strings, none of them empty");
    return this.keep(key, []);
  }

  /**
   * Notes that the key's value breaks a rule.
   *
   * @param rule What it must be, to stand after the value: `must be 1 to 16777215`.
   * @param secret Leaves the value out of the message.
   */
  fault(key: string, rule: string, secret = false): void {
    const value = this.raw(key);
    const shown = value === undefined ? " is not set" : secret ? "" : ` ${abbreviate(JSON.stringify(value))}`;
    this.faults.push({ key: this.#path + key, message: `${this.#path}${key}${shown}: ${rule}` });
  }

  /** Puts `value` into {@link complete} (undefined: leaves it out) and returns it. */
  keep<T extends Json | undefined>(key: string, value: T, shown: Json | undefined = value): T {
    if (shown !== undefined) this.complete[key] = shown;
    return value;
  }

  /** The keys that nothing has asked for, as written in the object. */
  unknownKeys(): string[] {
    return [...this.#spelling].filter(([folded]) => !this.#known.has(folded)).map(([, key]) => key);
  }

  /** The keys that were asked for. */
  knownKeys(): string[] {
    return [...this.#known.values()];
  }
}

/** The part of a rule that is for people. */
function textOf({ help, defaultText }: FieldText): FieldText {
  return {
    ...help === undefined ? {} : { help },
    ...defaultText === undefined ? {} : { defaultText },
  };
}

/** `a, b or c`. */
function listWords(words: readonly string[]): string {
  return words.join(", ").replace(/, ([^,]*)$/, " or $1");
}

function describeInteger(value: Json): string {
  if (typeof value === "number" && Number.isInteger(value)) return "";
  const quoted = typeof value === "string" && /^-?\d+$/.test(value);
  return quoted ? "a whole number without quotes, " : "a whole number, ";
}

function abbreviate(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}
