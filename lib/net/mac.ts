/**
 * Ethernet addresses, kept as the text `3e:4b:bc:75:ce:43` (lower case): they are compared and printed far
 * more often than they are sent.
 *
 * @module
 */

/** A MAC address in lower-case colon form. */
export type Mac = string;

/** Parses a MAC address in colon form. @throws {RangeError} If `text` is none. */
export function parseMac(text: string): Mac {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text)) {
    throw new RangeError(`Cannot parse ${JSON.stringify(text)} as a MAC address (like 3e:4b:bc:75:ce:43)`);
  }
  return text.toLowerCase();
}

/** The address's 6 bytes. */
export function macToBytes(mac: Mac): Uint8Array {
  const bytes = new Uint8Array(6);
  for (let i = 0; i < 6; i++) bytes[i] = parseInt(mac.slice(i * 3, i * 3 + 2), 16);
  return bytes;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** The address of 6 bytes. @throws {RangeError} If `bytes` has another length. */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`A MAC address has 6 bytes: got ${bytes.length}`);
  return Array.from(bytes, (byte) => HEX[byte]).join(":");
}

/**
 * Makes a locally administered unicast address of 6 arbitrary bytes (IEEE 802: bit 1 of the first byte set,
 * bit 0 clear).
 */
export function localMac(bytes: Uint8Array): Mac {
  const mac = bytes.slice(0, 6);
  mac[0] = (mac[0]! & 0xfe) | 0x02;
  return macFromBytes(mac);
}
