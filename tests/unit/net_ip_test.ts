import assert from "node:assert/strict";
import { isIP } from "node:net";
import { FAMILIES, familiesOf, familyOfAf, IPV4, IPV6, perFamily } from "../../lib/net/family.ts";
import {
  formatIp,
  ipFromBytes,
  ipKey,
  ipOf,
  ipToBytes,
  isHostAddress,
  parseIp,
  sameIp,
  tryParseIp,
} from "../../lib/net/ip.ts";
import { localMac, macFromBytes, macToBytes, parseMac } from "../../lib/net/mac.ts";
import {
  containsIp,
  containsPrefix,
  firstIp,
  formatPrefix,
  ipAt,
  lastIp,
  parseCidr,
  parsePrefix,
  prefixesOverlap,
  prefixOf,
  prefixSize,
  samePrefix,
} from "../../lib/net/prefix.ts";
import { randomSource } from "../../scripts/lab/random.ts";

/** inet_ntop by the book: the longest run of zero words, at least two, the first of equals (RFC 5952). */
function slowFormat(value: bigint): string {
  const words = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && words[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = (part: number[]) => part.map((word) => word.toString(16)).join(":");
  if (best.start < 0) return hex(words);
  return `${hex(words.slice(0, best.start))}::${hex(words.slice(best.start + best.length))}`;
}

/** An address with runs of zeros and of ones, as real ones have. */
function randomIpv6(random: ReturnType<typeof randomSource>): bigint {
  let value = 0n;
  for (let i = 0; i < 8; i++) {
    const kind = random.below(3);
    value = (value << 16n) | (kind === 0 ? random.bits(16) : kind === 1 ? 0n : BigInt(random.below(16)));
  }
  return value;
}

Deno.test("addresses: 20,000 random ones are printed as the slow printer does and read back", () => {
  const random = randomSource(7);
  for (let i = 0; i < 10_000; i++) {
    const v6 = ipOf(IPV6, randomIpv6(random));
    const text = formatIp(v6);
    assert.equal(text, slowFormat(v6.value));
    assert.equal(isIP(text), 6);
    assert(sameIp(parseIp(text), v6), text);
    assert(sameIp(ipFromBytes(ipToBytes(v6)), v6), text);
    const v4 = ipOf(IPV4, random.bits(32));
    const dotted = [24n, 16n, 8n, 0n].map((shift) => (v4.value >> shift) & 255n).join(".");
    assert.equal(formatIp(v4), dotted);
    assert(sameIp(parseIp(dotted), v4), dotted);
    assert(sameIp(ipFromBytes(ipToBytes(v4)), v4), dotted);
  }
});

Deno.test("addresses: 30,000 damaged texts are taken or refused as node:net does, and mean what URLs say", () => {
  const random = randomSource(11);
  const seeds = [
    "10.5.72.1",
    "255.255.255.255",
    "fc00::1:2",
    "::",
    "1:2:3:4:5:6:7:8",
    "::ffff:10.0.0.1",
    "fe80::1",
  ];
  const alphabet = "0123456789abcdefABF:.:.%/ g";
  let taken = 0;
  for (let i = 0; i < 30_000; i++) {
    const chars = [...seeds[random.below(seeds.length)]!];
    for (let edits = random.below(4); edits > 0; edits--) {
      chars.splice(
        random.below(chars.length + 1),
        random.below(2),
        ...alphabet[random.below(alphabet.length)]!,
      );
    }
    const text = chars.join("");
    const ip = tryParseIp(text);
    // A zone is part of an address to node:net, not here.
    const expected = text.includes("%") ? 0 : isIP(text);
    assert.equal(ip?.family.version ?? 0, expected, JSON.stringify(text));
    if (!ip) continue;
    taken++;
    const host = new URL(`http://${ip.family === IPV6 ? `[${text}]` : text}/`).hostname.replace(
      /[\[\]]/g,
      "",
    );
    const own = ip.family === IPV6 ? slowFormat(ip.value) : formatIp(ip);
    assert.equal(own, host, text);
  }
  assert(taken > 5_000, `only ${taken} texts were addresses`);
});

Deno.test("addresses: what is none is refused", () => {
  const table = [
    "",
    " 10.0.0.1",
    "10.0.0",
    "10.0.0.256",
    "010.0.0.1",
    "10.0.0.1/24",
    "::1%eth0",
    "::1/64",
    "1::2::3",
    ":",
    "x",
  ];
  for (const text of table) {
    assert.equal(tryParseIp(text), undefined, text);
    assert.throws(() => parseIp(text), RangeError, text);
  }
  assert.throws(() => ipOf(IPV4, 1n << 32n), RangeError);
  assert.throws(() => ipOf(IPV6, -1n), RangeError);
  assert.throws(() => ipFromBytes(new Uint8Array(5)), RangeError);
  assert.equal(sameIp(undefined, undefined), true);
  assert.equal(sameIp(parseIp("::1"), parseIp("0.0.0.1")), false);
});

Deno.test("addresses: bytes of a part of a buffer", () => {
  const buffer = new Uint8Array(20).map((_, i) => i);
  assert.equal(formatIp(ipFromBytes(buffer.subarray(2, 18))), "203:405:607:809:a0b:c0d:e0f:1011");
  assert.equal(formatIp(ipFromBytes(Uint8Array.of(255, 1, 2, 3))), "255.1.2.3");
});

Deno.test("prefixes: tables", () => {
  const table: [string, string, string, string][] = [
    ["10.5.72.1/24", "10.5.72.0/24", "10.5.72.0", "10.5.72.255"],
    ["10.5.72.1/32", "10.5.72.1/32", "10.5.72.1", "10.5.72.1"],
    ["255.255.255.255/0", "0.0.0.0/0", "0.0.0.0", "255.255.255.255"],
    ["fc00::1:2/112", "fc00::1:0/112", "fc00::1:0", "fc00::1:ffff"],
    ["fc00::/0", "::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    ["fc00:0:0:1::/64", "fc00:0:0:1::/64", "fc00:0:0:1::", "fc00::1:ffff:ffff:ffff:ffff"],
  ];
  for (const [text, prefix, first, last] of table) {
    const parsed = parsePrefix(text);
    assert.deepEqual([formatPrefix(parsed), formatIp(firstIp(parsed)), formatIp(lastIp(parsed))], [
      prefix,
      first,
      last,
    ]);
  }
  assert.equal(formatIp(parseCidr("10.5.72.1/24").ip), "10.5.72.1");
  for (
    const bad of [
      "10.0.0.0",
      "10.0.0.0/33",
      "fc00::/129",
      "10.0.0.0/-1",
      "10.0.0.0/",
      "/8",
      "x/8",
      "10.0.0.0/8/8",
    ]
  ) {
    assert.throws(() => parsePrefix(bad), RangeError, bad);
  }
  assert.throws(() => prefixOf(parseIp("10.0.0.0"), 1.5), RangeError);
  assert.throws(() => ipAt(parsePrefix("255.255.255.0/24"), 256n), RangeError);
  assert.equal(samePrefix(undefined, undefined), true);
  assert.equal(samePrefix(parsePrefix("10.0.0.0/8"), parsePrefix("10.0.0.0/9")), false);
});

Deno.test("prefixes: containing and overlapping agree with counting the addresses", () => {
  const random = randomSource(3);
  for (let i = 0; i < 5_000; i++) {
    const family = FAMILIES[random.below(2)]!;
    const top = BigInt(family.bits - 6);
    // Only 6 bits differ, so that prefixes often meet.
    const ip = () => ipOf(family, random.bits(6) << top);
    const [a, b] = [prefixOf(ip(), random.below(8)), prefixOf(ip(), random.below(8))];
    const range = (p: typeof a) => [firstIp(p).value, lastIp(p).value] as const;
    const [[a0, a1], [b0, b1]] = [range(a), range(b)];
    assert.equal(a1 - a0 + 1n, prefixSize(a));
    assert.equal(containsPrefix(a, b), a0 <= b0 && b1 <= a1);
    assert.equal(prefixesOverlap(a, b), a0 <= b1 && b0 <= a1);
    const one = ip();
    assert.equal(containsIp(a, one), a0 <= one.value && one.value <= a1);
  }
  assert.equal(containsIp(parsePrefix("::/0"), parseIp("10.0.0.1")), false);
});

Deno.test("MAC addresses", () => {
  assert.equal(parseMac("3E:4b:BC:75:ce:43"), "3e:4b:bc:75:ce:43");
  assert.deepEqual([...macToBytes("3e:4b:bc:75:ce:43")], [0x3e, 0x4b, 0xbc, 0x75, 0xce, 0x43]);
  assert.equal(macFromBytes(macToBytes("00:ff:01:0a:b0:00")), "00:ff:01:0a:b0:00");
  for (
    const bad of ["", "3e:4b:bc:75:ce", "3e-4b-bc-75-ce-43", "3e:4b:bc:75:ce:4g", "3e:4b:bc:75:ce:43:00"]
  ) {
    assert.throws(() => parseMac(bad), RangeError, bad);
  }
  assert.throws(() => macFromBytes(new Uint8Array(5)), RangeError);
  assert.equal(localMac(Uint8Array.of(0xff, 1, 2, 3, 4, 5, 6)), "fe:01:02:03:04:05");
  assert.equal(localMac(Uint8Array.of(0x00, 1, 2, 3, 4, 5)), "02:01:02:03:04:05");
});

Deno.test("families as data", () => {
  assert.equal(familyOfAf(2), IPV4);
  assert.equal(familyOfAf(10), IPV6);
  assert.equal(familyOfAf(7), undefined);
  assert.deepEqual(perFamily(FAMILIES, (family) => family === IPV6 ? 1 : undefined), { ipv6: 1 });
  assert.deepEqual(familiesOf({ ipv6: 0, ipv4: 0 }), [IPV4, IPV6]);
});

Deno.test("keys of addresses: unique within a family, and no bigints, whose lower half alone V8 would hash", () => {
  const ips = ["0.0.0.0", "10.5.1.0", "200.5.1.0", "255.255.255.255"].map(parseIp);
  const ips6 = ["::", "fc00::", "fc00:0:0:1::", "fc00:0:1::", "fc00::1", "ffff:ffff:ffff:ffff::"].map(
    parseIp,
  );
  for (const list of [ips, ips6]) {
    const keys = list.map(({ family, value }) => ipKey(family, value));
    assert.equal(new Set(keys).size, list.length);
    assert.ok(keys.every((key) => typeof key !== "bigint"));
  }
});

Deno.test("addresses of hosts: not the unspecified, loopback, multicast, reserved and broadcast ones", () => {
  const hosts = [
    "1.0.0.0",
    "10.5.1.0",
    "126.255.255.255",
    "128.0.0.0",
    "223.255.255.255",
    "::1:0:0:2",
    "fe80::1",
    "fd00::",
  ];
  const others = [
    "0.0.0.0",
    "0.255.0.1",
    "127.0.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::ffff:172.30.0.2",
    "ff02::1",
  ];
  assert.deepEqual(hosts.filter((text) => !isHostAddress(parseIp(text))), []);
  assert.deepEqual(others.filter((text) => isHostAddress(parseIp(text))), []);
});
