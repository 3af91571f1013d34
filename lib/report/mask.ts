/**
 * Masking secrets in texts of other programs: by their values where these are known, and by how they are written.
 *
 * @module
 */
import { isSecretName, redactText } from "../observe/redact.ts";

/** What stands in the place of a secret. */
const MASK = "***";

/** Shorter values would mask parts of words. */
const SHORTEST = 5;

/** `name = value`, `name: value`, `NAME="value"`, `-name=value`, `"name": "value"`, the same with escaped quotes. */
const ASSIGNMENT =
  /(\\{0,4}["']?)(?<![\w.])([A-Za-z][\w.-]{0,99})\1([ \t]*[:=][ \t]*)(\\{1,4}"[^"\n]*?\\{1,4}"|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s,;}\]]+)/g;

/** `-etcd-password secret`: an option and its value in the next word. */
const OPTION = /(?<![\w-])(--?)([a-z][\w-]{0,99})([ \t]+)(?!-)(\S+)/g;

/** `Authorization: Bearer …` and the like. */
const SCHEME = /\b(Bearer|Basic)\s+[A-Za-z0-9+/._~-]{8,}=*/g;

/** JSON Web Tokens (RFC 7519), as Kubernetes' service accounts have them. */
const TOKEN = /\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*/g;

/** Masks texts. */
export class Masker {
  readonly #values: readonly string[];

  /** @param values Secrets that are known. */
  constructor(values: Iterable<string>) {
    const known = new Set(
      Array.from(values, (value) => value.trim()).filter((value) => value.length >= SHORTEST),
    );
    // A long one may hold a short one.
    this.#values = [...known].sort((a, b) => b.length - a.length);
  }

  /** The text without secrets. */
  mask(text: string): string {
    let masked = text;
    for (const value of this.#values) {
      for (const written of new Set([value, encodeURIComponent(value), JSON.stringify(value).slice(1, -1)])) {
        masked = masked.replaceAll(written, MASK);
      }
    }
    return maskForms(redactText(masked).replace(SCHEME, `$1 ${MASK}`).replace(TOKEN, MASK));
  }
}

/** Masks what is written as a secret. */
function maskForms(text: string): string {
  return text.replace(ASSIGNMENT, (_, quote: string, name: string, middle: string, value: string) => {
    const [, open = "", inner = "", close = ""] = /^(\\{0,4}["']?)([^]*?)(\\{0,4}["']?)$/.exec(value)!;
    // What isn't secret may hold what is: Environment="PASSWORD=…".
    const shown = isSecretName(name) ? MASK : open === "" ? inner : maskForms(inner);
    return `${quote}${name}${quote}${middle}${open}${shown}${close}`;
  }).replace(
    OPTION,
    (whole, dash: string, name: string, middle: string) =>
      isSecretName(name) ? `${dash}${name}${middle}${MASK}` : whole,
  );
}

/** The values of an environment's variables that hold secrets. */
export function secretVariables(environment: Readonly<Record<string, string>>): string[] {
  return Object.entries(environment).filter(([name]) => isSecretName(name)).map(([, value]) => value);
}

/** The values of a JSON text's fields that hold secrets. */
export function secretFields(text: string): string[] {
  const found: string[] = [];
  const visit = (name: string, value: unknown): void => {
    if (typeof value === "string" && isSecretName(name)) found.push(value);
    else if (typeof value === "object" && value !== null) {
      for (const [key, item] of Object.entries(value)) visit(Array.isArray(value) ? name : key, item);
    }
  };
  try {
    visit("", JSON.parse(text));
  } catch {
    // Not JSON: what is written as an assignment is masked by its form.
  }
  return found;
}
