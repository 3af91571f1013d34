/**
 * Leases as they stand in the store, and on the host.
 *
 * @module
 */
import { parseKeptLease } from "../../../lib/daemon/lease_file.ts";
import {
  decodeLease,
  decodeLeaseKey,
  decodeLeaseValue,
  encodeLeaseKey,
  encodeLeaseValue,
  sameLeaseKey,
} from "../../../lib/leases/codec.ts";
import { type FuzzTarget, property, show, textOf } from "../target.ts";

/** A fault names what it is about in this many characters. */
const MAX_REASON = 700;

export const LEASE_TARGETS: readonly FuzzTarget[] = [
  {
    name: "lease-key",
    what: "a lease's key",
    errors: [],
    dictionary: [
      "10.5.88.0-24",
      "&",
      "fc00:0:0:1::-64",
      "0.0.0.0-0",
      "-",
      "::ffff:1.2.3.4-128",
      "::",
      "-129",
      "%eth0",
    ],
    open: () => checkKey,
  },
  {
    name: "lease-value",
    what: "a lease's value",
    errors: [],
    dictionary: [
      ...[
        '"PublicIP":',
        '"PublicIPv6":',
        '"BackendType":',
        '"BackendData":',
        '"BackendV6Data":',
        "null",
        "{",
        "}",
      ],
      ...[
        '"10.0.0.1"',
        '"fd00::1"',
        '"VNI":1',
        '"VtepMAC":"3e:4b:bc:75:ce:43"',
        '"publicip":',
        '"__proto__":',
      ],
    ],
    open: () => checkValue,
  },
  {
    name: "lease-file",
    what: "the own lease beside the subnet file",
    errors: [SyntaxError],
    dictionary: ['"key":', '"value":', "null", "{", "}", '\\"'],
    open: () => (input) => {
      const kept = parseKeptLease(textOf(input));
      if (kept) decodeLease(kept);
    },
  },
];

function checkKey(input: Uint8Array): void {
  const key = textOf(input);
  const subnets = decodeLeaseKey(key);
  property(sameLeaseKey(key, key), "a key isn't the same as itself");
  if (!subnets) return;
  const written = encodeLeaseKey(subnets);
  property(show(decodeLeaseKey(written)) === show(subnets), `${key} is written as ${written}`);
  // 0.0.0.0-0 stands for no subnet and has one form only.
  if (!/^0+\./.test(key)) property(sameLeaseKey(key, written), `${key} and ${written} name the same subnets`);
}

function checkValue(input: Uint8Array): void {
  const attributes = decodeLeaseValue(textOf(input));
  if (typeof attributes === "string") {
    property(attributes.length < MAX_REASON, `a reason of ${attributes.length} characters`);
    return;
  }
  const again = decodeLeaseValue(encodeLeaseValue(attributes));
  property(show(again) === show(attributes), `${show(attributes)} is read again as ${show(again)}`);
}
