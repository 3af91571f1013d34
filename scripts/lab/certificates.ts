/**
 * Certificates for tests: an authority of our own, a server certificate and a client certificate, written
 * as X.509 (RFC 5280) in DER with WebCrypto's ECDSA keys, so that no other program is needed.
 *
 * @module
 */

import { ipToBytes, parseIp } from "../../lib/net/ip.ts";

/** Paths of PEM files in one folder. */
export interface Certificates {
  readonly folder: string;
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly clientCert: string;
  readonly clientKey: string;
}

/** Names and addresses that the server certificate is good for. */
export interface CertificateOptions {
  /** @default ["localhost"] */
  readonly dnsNames?: readonly string[];
  /** IP addresses. @default ["127.0.0.1"] */
  readonly addresses?: readonly string[];
  /** Common name of the client certificate. @default "flanneld" */
  readonly clientName?: string;
}

const OID = {
  ecdsaWithSha256: "2a8648ce3d040302", // 1.2.840.10045.4.3.2
  commonName: "550403", // 2.5.4.3
  subjectAltName: "551d11", // 2.5.29.17
  basicConstraints: "551d13", // 2.5.29.19
  extendedKeyUsage: "551d25", // 2.5.29.37
  serverAuth: "2b06010505070301",
  clientAuth: "2b06010505070302",
};

/** Writes a new authority and its certificates into `folder`. */
export async function makeCertificates(
  folder: string,
  options: CertificateOptions = {},
): Promise<Certificates> {
  const ca = await makeKey();
  const server = await makeKey();
  const client = await makeKey();
  const { dnsNames = ["localhost"], addresses = ["127.0.0.1"] } = options;
  const names = [
    ...dnsNames.map((name) => tlv(0x82, new TextEncoder().encode(name))),
    ...addresses.map((address) => tlv(0x87, ipToBytes(parseIp(address)))),
  ];
  const authority = { name: "flanneld test authority", key: ca };
  const usage = (oid: string) => extension(OID.extendedKeyUsage, false, seq(tlv(0x06, hex(oid))));
  const files = {
    ca: await certificate(authority, authority.name, ca, [
      extension(OID.basicConstraints, true, seq(tlv(0x01, Uint8Array.of(0xff)))),
    ]),
    serverCert: await certificate(authority, "server", server, [
      usage(OID.serverAuth),
      extension(OID.subjectAltName, false, seq(...names)),
    ]),
    serverKey: await privateKey(server),
    clientCert: await certificate(authority, options.clientName ?? "flanneld", client, [
      usage(OID.clientAuth),
    ]),
    clientKey: await privateKey(client),
  };
  for (const [name, pem] of Object.entries(files)) {
    await Deno.writeTextFile(`${folder}/${name}.pem`, pem, { mode: 0o600 });
  }
  const path = (name: keyof typeof files) => `${folder}/${name}.pem`;
  return {
    folder,
    ca: path("ca"),
    serverCert: path("serverCert"),
    serverKey: path("serverKey"),
    clientCert: path("clientCert"),
    clientKey: path("clientKey"),
  };
}

function makeKey(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
}

async function privateKey(pair: CryptoKeyPair): Promise<string> {
  return pem("PRIVATE KEY", new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey)));
}

async function certificate(
  issuer: { name: string; key: CryptoKeyPair },
  subject: string,
  pair: CryptoKeyPair,
  extensions: readonly Uint8Array[],
): Promise<string> {
  const algorithm = seq(tlv(0x06, hex(OID.ecdsaWithSha256)));
  const body = seq(
    tlv(0xa0, integer(Uint8Array.of(2))),
    integer(crypto.getRandomValues(new Uint8Array(8))),
    algorithm,
    nameOf(issuer.name),
    seq(utcTime(Date.now() - 3600_000), utcTime(Date.now() + 86_400_000)),
    nameOf(subject),
    new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey)),
    tlv(0xa3, seq(...extensions)),
  );
  const raw = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, issuer.key.privateKey, body);
  const signature = new Uint8Array(raw);
  const encoded = seq(integer(signature.subarray(0, 32)), integer(signature.subarray(32)));
  return pem("CERTIFICATE", seq(body, algorithm, tlv(0x03, Uint8Array.of(0), encoded)));
}

function nameOf(text: string): Uint8Array {
  return seq(tlv(0x31, seq(tlv(0x06, hex(OID.commonName)), tlv(0x0c, new TextEncoder().encode(text)))));
}

function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? [tlv(0x01, Uint8Array.of(0xff))] : [];
  return seq(tlv(0x06, hex(oid)), ...flag, tlv(0x04, value));
}

/** An unsigned number: no leading zeros, and one before a first byte that would read as negative. */
function integer(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const digits = bytes.subarray(start);
  return digits[0]! & 0x80 ? tlv(0x02, Uint8Array.of(0), digits) : tlv(0x02, digits);
}

function utcTime(ms: number): Uint8Array {
  const text = new Date(ms).toISOString().replace(/[-:T]/g, "").slice(2, 14);
  return tlv(0x17, new TextEncoder().encode(`${text}Z`));
}

function seq(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return tlv(0x30, ...parts);
}

function tlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  // DER wants the shortest form of a length.
  const head = length < 128
    ? [tag, length]
    : length < 256
    ? [tag, 0x81, length]
    : [tag, 0x82, length >> 8, length & 255];
  const out = new Uint8Array(head.length + length);
  out.set(head);
  let offset = head.length;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

function hex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g)!, (byte) => parseInt(byte, 16));
}

function pem(label: string, der: Uint8Array): string {
  const base64 = btoa(String.fromCharCode(...der)).match(/.{1,64}/g)!.join("\n");
  return `-----BEGIN ${label}-----\n${base64}\n-----END ${label}-----\n`;
}
