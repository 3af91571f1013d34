/**
 * A strict JSON reader (RFC 8259) that says where a text is wrong and what people usually mean by it.
 *
 * JSON.parse is not used for configs: it names no position for a text that ends early, and it keeps the first
 * place of a key that stands twice, while the order of keys decides here which one wins.
 *
 * @module
 */
import type { Json, JsonObject } from "./types.ts";

/** A text that isn't JSON: `line 3, column 5: …`, counted from 1. */
export class JsonSyntaxError extends Error {
  override readonly name = "JsonSyntaxError";
  constructor(readonly line: number, readonly column: number, readonly problem: string) {
    super(`line ${line}, column ${column}: ${problem}`);
  }
}

/** Nesting that no config needs; deeper input would only exhaust the stack. */
const MAX_DEPTH = 100;

const LITERALS: Readonly<Record<string, Json>> = { true: true, false: false, null: null };

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/**
 * Parses a JSON text. The keys of an object stand in the order in which they were last written.
 *
 * @throws {JsonSyntaxError} If it is none.
 */
export function parseJson(text: string): Json {
  return new Parser(text).document();
}

class Parser {
  #at = 0;
  #depth = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  document(): Json {
    this.#space();
    if (this.#at === this.#text.length) this.#fail("the text is empty: a JSON object in {} was expected");
    const value = this.#value("a JSON value");
    this.#space();
    if (this.#at < this.#text.length) this.#fail(`${this.#found()} after the end of the JSON value`);
    return value;
  }

  #value(expected: string): Json {
    const char = this.#peek();
    if (char === "{") return this.#nested(() => this.#object());
    if (char === "[") return this.#nested(() => this.#array());
    if (char === '"') return this.#string();
    if (char === "-" || isDigit(char)) return this.#number();
    const word = /^[A-Za-z_][\w.-]*/.exec(this.#text.slice(this.#at, this.#at + 64))?.[0];
    const literal = word === undefined ? undefined : LITERALS[word];
    if (literal === undefined) {
      this.#fail(`${expected} was expected, found ${this.#found()}${hintFor(char, word)}`);
    }
    this.#at += word!.length;
    return literal;
  }

  #nested<T>(read: () => T): T {
    if (++this.#depth > MAX_DEPTH) this.#fail(`nested deeper than ${MAX_DEPTH} levels`);
    this.#at++;
    this.#space();
    const value = read();
    this.#depth--;
    return value;
  }

  #object(): JsonObject {
    const members = new Map<string, Json>();
    if (this.#take("}")) return {};
    for (;;) {
      const key = this.#key();
      this.#space();
      if (!this.#take(":")) this.#fail(`":" was expected after key "${key}", found ${this.#found()}`);
      this.#space();
      const value = this.#value(`a value for key "${key}"`);
      members.delete(key);
      members.set(key, value);
      // fromEntries makes own properties of all keys, of `__proto__` too.
      if (!this.#more("}", "object")) return Object.fromEntries(members);
    }
  }

  #array(): Json[] {
    const array: Json[] = [];
    if (this.#take("]")) return array;
    for (;;) {
      array.push(this.#value("a value"));
      if (!this.#more("]", "array")) return array;
    }
  }

  #key(): string {
    if (this.#peek() === '"') return this.#string();
    const char = this.#peek();
    const unquoted = /[\w$]/.test(char) ? " (keys must stand in double quotes)" : "";
    const hint = unquoted || (/['/#]/.test(char) ? hintFor(char, undefined) : "");
    this.#fail(`a key in double quotes was expected, found ${this.#found()}${hint}`);
  }

  /** After an element: whether another one follows. */
  #more(close: string, what: string): boolean {
    this.#space();
    if (this.#take(close)) return false;
    const comma = this.#at;
    if (!this.#take(",")) {
      const missing = /["\w{[-]/.test(this.#peek()) ? " (is a comma missing before it?)" : "";
      this.#fail(`"," or "${close}" was expected in the ${what}, found ${this.#found()}${missing}`);
    }
    this.#space();
    if (this.#peek() !== close) return true;
    this.#at = comma;
    this.#fail(`"," before "${close}": JSON has no comma after the last element, take it away`);
  }

  #string(): string {
    const start = this.#at++;
    let result = "";
    for (;;) {
      const char = this.#peek();
      if (char === "" || char === "\n") {
        this.#at = start;
        this.#fail('the string that begins here has no closing "');
      }
      if (char < " ") this.#fail("a control character in a string: write it as an escape like \\t");
      this.#at++;
      if (char === '"') return result;
      result += char === "\\" ? this.#escape() : char;
    }
  }

  #escape(): string {
    const char = this.#peek();
    const simple = ESCAPES[char];
    if (simple !== undefined) {
      this.#at++;
      return simple;
    }
    const hex = /^u([0-9a-fA-F]{4})/.exec(this.#text.slice(this.#at, this.#at + 5));
    if (!hex) this.#fail(`${this.#found()} after "\\": no such escape in JSON`);
    this.#at += 5;
    return String.fromCharCode(parseInt(hex[1]!, 16));
  }

  #number(): number {
    const word = /^[-+.\w]+/.exec(this.#text.slice(this.#at, this.#at + 400))![0];
    if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(word)) {
      const quote = /^\d+(\.\d+){2,}/.test(word) ? " (addresses must stand in double quotes)" : "";
      this.#fail(`${word} isn't a JSON number${quote}`);
    }
    this.#at += word.length;
    return Number(word);
  }

  #space(): void {
    while (/^[ \t\r\n]$/.test(this.#peek())) this.#at++;
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }

  #take(char: string): boolean {
    if (this.#peek() !== char) return false;
    this.#at++;
    return true;
  }

  /** What stands at the current place, for people. */
  #found(): string {
    const char = this.#peek();
    if (char === "") return "the end of the text";
    if (char === "\ufeff") return "a byte order mark (save the file as UTF-8 without BOM)";
    const word = /^\w+/.exec(this.#text.slice(this.#at, this.#at + 24))?.[0] ?? char;
    return JSON.stringify(word);
  }

  #fail(problem: string): never {
    const before = this.#text.slice(0, this.#at).split("\n");
    throw new JsonSyntaxError(before.length, before.at(-1)!.length + 1, problem);
  }
}

function isDigit(char: string): boolean {
  return char >= "0" && char <= "9";
}

/** What people mean who write `char` (or an unquoted `word`) where JSON wants a key or a value. */
function hintFor(char: string, word: string | undefined): string {
  if (char === "'") return " (JSON has double quotes only)";
  if (char === "/" || char === "#") return " (JSON has no comments)";
  if (char === "," || char === "}" || char === "]") return " (the value is empty)";
  if (word !== undefined && /^(true|false|null)$/i.test(word)) return ` (write ${word.toLowerCase()})`;
  return word === undefined ? "" : " (text must stand in double quotes)";
}
