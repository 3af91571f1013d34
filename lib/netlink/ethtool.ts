/**
 * The transmit checksum offload of a link: the feature `tx-checksum-ip-generic` of ethtool(8).
 *
 * By the SIOCETHTOOL ioctl (linux/ethtool.h), which every kernel has; features are numbered differently in each
 * kernel version, so the number is looked up by name.
 *
 * @module
 */
import { check, EOPNOTSUPP, SystemError } from "../ffi/errno.ts";
import { closeFd } from "../ffi/fd.ts";
import { addressOf, libc } from "../ffi/libc.ts";
import { IFNAMSIZ } from "./constants.ts";

const SIOCETHTOOL = 0x8946n;
const ETHTOOL_GSTRINGS = 0x1b, ETHTOOL_GSSET_INFO = 0x37, ETHTOOL_GFEATURES = 0x3a, ETHTOOL_SFEATURES = 0x3b;
const ETH_SS_FEATURES = 4;
const ETH_GSTRING_LEN = 32;
const FEATURE = "tx-checksum-ip-generic";

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0x80000;
/** struct ifreq on 64-bit machines: char name[16], then a union of 24 bytes that begins with the pointer. */
const IFREQ_BYTES = 40;

/** Whether the link computes the checksums of what it sends. @throws {SystemError} ENODEV: there is no such link. */
export function getTxChecksum(name: string): boolean {
  return withSocket((fd) => readFeature(fd, name).active);
}

/**
 * Turns it on or off.
 *
 * @throws {SystemError} ENODEV: there is no such link, EPERM: CAP_NET_ADMIN is missing, EOPNOTSUPP: the link
 *   can't do without it, or can't do it.
 */
export function setTxChecksum(name: string, on: boolean): void {
  withSocket((fd) => {
    const { words, bit, active } = readFeature(fd, name);
    if (active === on) return;
    // struct ethtool_sfeatures { u32 cmd; u32 size; struct { u32 valid; u32 requested; } features[size]; }
    const request = new Uint32Array(2 + words * 2);
    request[0] = ETHTOOL_SFEATURES;
    request[1] = words;
    const block = 2 + (bit >>> 5) * 2;
    request[block] = 1 << (bit & 31);
    if (on) request[block + 1] = 1 << (bit & 31);
    const operation = `turn ${FEATURE} of ${name} ${on ? "on" : "off"}`;
    ethtool(fd, name, request, operation);
    // A change that the driver doesn't take is no error to the kernel.
    if (readFeature(fd, name).active !== on) throw new SystemError(operation, EOPNOTSUPP);
  });
}

/** The feature's number and state, and in how many 32-bit words the kernel keeps features. */
function readFeature(fd: number, name: string): { bit: number; words: number; active: boolean } {
  const operation = `read ${FEATURE} of ${name}`;
  const names = featureNames(fd, name, operation);
  const bit = names.indexOf(FEATURE);
  if (bit < 0) throw new SystemError(operation, EOPNOTSUPP);
  const words = Math.ceil(names.length / 32);
  // struct ethtool_gfeatures { u32 cmd; u32 size; struct { u32 available, requested, active, never; } [size]; }
  const request = new Uint32Array(2 + words * 4);
  request[0] = ETHTOOL_GFEATURES;
  request[1] = words;
  ethtool(fd, name, request, operation);
  return { bit, words, active: (request[2 + (bit >>> 5) * 4 + 2]! >>> (bit & 31) & 1) === 1 };
}

function featureNames(fd: number, name: string, operation: string): string[] {
  // struct ethtool_sset_info { u32 cmd; u32 reserved; u64 sset_mask; u32 data[1]; }: a count for each bit
  const info = new Uint32Array([ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0, 0]);
  ethtool(fd, name, info, operation);
  const count = info[2] === 0 ? 0 : info[4]!;
  // struct ethtool_gstrings { u32 cmd; u32 string_set; u32 len; u8 data[len * 32]; }
  const strings = new Uint8Array(new ArrayBuffer(12 + count * ETH_GSTRING_LEN));
  new Uint32Array(strings.buffer, 0, 3).set([ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count]);
  ethtool(fd, name, strings, operation);
  const decoder = new TextDecoder();
  return Array.from({ length: count }, (_, i) => {
    const text = decoder.decode(strings.subarray(12 + i * ETH_GSTRING_LEN, 12 + (i + 1) * ETH_GSTRING_LEN));
    return text.slice(0, text.indexOf("\0"));
  });
}

/** One ethtool command; the answer stands in `data`. */
function ethtool(
  fd: number,
  name: string,
  data: Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>,
  operation: string,
): void {
  const request = new Uint8Array(new ArrayBuffer(IFREQ_BYTES));
  request.set(new TextEncoder().encode(name).subarray(0, IFNAMSIZ - 1));
  new DataView(request.buffer).setBigUint64(IFNAMSIZ, addressOf(data), true);
  check(libc().ioctl(fd, SIOCETHTOOL, request), operation);
}

function withSocket<T>(use: (fd: number) => T): T {
  const fd = check(libc().socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0), "open a socket");
  try {
    return use(fd);
  } finally {
    closeFd(fd);
  }
}
