/**
 * SHA-256 (FIPS 180-4) of short texts: names, marks and MAC addresses are derived from it on the way to the subnet file.
 *
 * By hand, because loading node:crypto takes a tenth of the daemon's start, and Web Crypto answers later only.
 *
 * @module
 */

const BLOCK_BYTES = 64;
/** The message's length in bits stands in the last 8 bytes of its last block. */
const LENGTH_BYTES = 8;

const PRIMES = firstPrimes(64);
/** Of the cube roots of the first 64 primes the first 32 bits behind the point (section 4.2.2). */
const ROUND_CONSTANTS = Uint32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
/** The same of the square roots of the first 8 (section 5.3.3). */
const INITIAL_STATE = Uint32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

function firstPrimes(count: number): number[] {
  const primes: number[] = [];
  for (let candidate = 2; primes.length < count; candidate++) {
    if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate);
  }
  return primes;
}

function fraction(root: number): number {
  return Math.floor((root - Math.floor(root)) * 2 ** 32);
}

/** The 32 bytes of a text's SHA-256, of its UTF-8 form. */
export function sha256(text: string): Uint8Array<ArrayBuffer> {
  const message = padded(new TextEncoder().encode(text));
  const state = INITIAL_STATE.slice();
  for (let at = 0; at < message.byteLength; at += BLOCK_BYTES) addBlock(state, message, at);
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, index) => digest.setUint32(index * 4, word));
  return new Uint8Array(digest.buffer);
}

/** As {@link sha256}, in hexadecimal. */
export function sha256Hex(text: string): string {
  return sha256(text).toHex();
}

/** Whole blocks: the bytes, a one bit, zeros, the length (section 5.1.1). */
function padded(bytes: Uint8Array): DataView {
  const blocks = Math.ceil((bytes.length + 1 + LENGTH_BYTES) / BLOCK_BYTES);
  const message = new Uint8Array(blocks * BLOCK_BYTES);
  message.set(bytes);
  message[bytes.length] = 0x80;
  const view = new DataView(message.buffer);
  view.setBigUint64(message.length - LENGTH_BYTES, BigInt(bytes.length) * 8n);
  return view;
}

/** Section 6.2.2: the message schedule, 64 rounds, and their sum with what was there. */
function addBlock(state: Uint32Array, message: DataView, start: number): void {
  const schedule = new Uint32Array(64);
  for (let t = 0; t < 16; t++) schedule[t] = message.getUint32(start + t * 4);
  for (let t = 16; t < 64; t++) {
    const [early, late] = [schedule[t - 15]!, schedule[t - 2]!];
    const small0 = rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3);
    const small1 = rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10);
    schedule[t] = schedule[t - 16]! + small0 + schedule[t - 7]! + small1;
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [
    ...[number, number, number, number],
    ...[number, number, number, number],
  ];
  for (let t = 0; t < 64; t++) {
    const big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const choice = (e & f) ^ (~e & g);
    const first = (h + big1 + choice + ROUND_CONSTANTS[t]! + schedule[t]!) | 0;
    const big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + big0 + majority) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, index) => state[index]! += word);
}

function rotate(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits));
}
