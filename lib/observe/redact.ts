/**
 * Keeping secrets out of what people read.
 *
 * @module
 */

/** What stands in the place of a secret. */
const MASK = "***";

const SECRET_NAME =
  /pass(word|wd|phrase)?$|secret|token|credential|authorization|psk$|pre_?-?shared_?-?key|private_?-?key|key_?-?(data|pem)$/i;

/** How deep values are followed; what lies deeper is cut. */
const MAX_DEPTH = 6;

/** Whether a field of this name holds a secret. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name);
}

/** Masks the password of URLs and key blocks (PEM) inside a text. */
export function redactText(text: string): string {
  return text
    .replace(/(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s/@]+@/gi, `$1:${MASK}@`)
    .replace(/-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, MASK);
}

/**
 * Masks what stands before the last @ of a text that should be URLs: user and password, whatever characters they
 * hold and whether the rest is well formed or not.
 */
export function hideUser(text: string): string {
  return text.replace(/^((?:[a-z][a-z0-9+.-]*:\/\/)?)[^]*@/i, `$1${MASK}@`);
}

/**
 * A copy of a field's value that can be shown: secrets masked, errors as their message, big integers as text.
 *
 * @param name The field's name, which says whether the value is a secret.
 */
export function redact(name: string, value: unknown, depth = 0): unknown {
  if (isSecretName(name) && value !== undefined && value !== null && value !== "") return MASK;
  if (typeof value === "string") return redactText(value);
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error) return redactText(value.message);
  if (value instanceof Date) return value.toISOString();
  if (typeof value !== "object" || value === null) return value;
  if (depth >= MAX_DEPTH) return "...";
  if (value instanceof Map) return redact(name, Object.fromEntries(value), depth);
  if (value instanceof Set) return redact(name, [...value], depth);
  if (Array.isArray(value)) return value.map((item) => redact("", item, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, redact(key, item, depth + 1)]));
}
