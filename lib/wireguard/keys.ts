/**
 * WireGuard's keys: Curve25519 (RFC 7748), as base64 of 32 bytes.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, randomBytes } from "node:crypto";

const KEY_BYTES = 32;

/** Before the 32 bytes of a private key in PKCS #8 (RFC 8410, section 7). */
const PKCS8_HEAD = "302e020100300506032b656e04220420";

/** Whether a text is a key: base64 of 32 bytes, in its one right form. */
export function isKey(text: string): boolean {
  if (text.length !== 44) return false;
  const bytes = Buffer.from(text, "base64");
  return bytes.length === KEY_BYTES && bytes.toString("base64") === text;
}

/** A new private key. */
export function generatePrivateKey(): string {
  const bytes = randomBytes(KEY_BYTES);
  // Clamped (RFC 7748, section 5), as wg genkey does: tools that compare keys then see one form.
  bytes[0]! &= 248;
  bytes[31] = (bytes[31]! & 127) | 64;
  return bytes.toString("base64");
}

/** The public key of a private key. @throws {RangeError} If it isn't a key. */
export function publicKeyOf(privateKey: string): string {
  if (!isKey(privateKey)) throw new RangeError("not a WireGuard key: base64 of 32 bytes is expected");
  const der = Buffer.concat([Buffer.from(PKCS8_HEAD, "hex"), Buffer.from(privateKey, "base64")]);
  const secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(secret).export({ format: "der", type: "spki" });
  return Buffer.from(spki.subarray(-KEY_BYTES)).toString("base64");
}

/** Hexadecimal, as the cross-platform interface writes keys. */
export function keyToHex(key: string): string {
  return Buffer.from(key, "base64").toString("hex");
}

/** Base64 of a key in hexadecimal. */
export function keyFromHex(hex: string): string {
  return Buffer.from(hex, "hex").toString("base64");
}
