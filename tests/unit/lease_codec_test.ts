import assert from "node:assert/strict";
import {
  decodeLease,
  decodeLeaseKey,
  decodeLeaseValue,
  encodeLeaseKey,
  encodeLeaseValue,
  sameLeaseKey,
} from "../../lib/leases/codec.ts";
import type { LeaseAttributes } from "../../lib/leases/types.ts";
import { formatIp, parseIp } from "../../lib/net/ip.ts";
import { formatPrefix, parsePrefix } from "../../lib/net/prefix.ts";

const KEYS = [
  { key: "10.5.88.0-24", ipv4: "10.5.88.0/24" },
  { key: "10.5.88.0-24&fc00:0:0:1::-64", ipv4: "10.5.88.0/24", ipv6: "fc00:0:0:1::/64" },
  // The original writes the empty IPv4 prefix in front of a network of IPv6 alone.
  { key: "0.0.0.0-0&fc00:0:0:1::-64", ipv6: "fc00:0:0:1::/64" },
  { key: "10.5.88.4-30&fc00::1:0-112", ipv4: "10.5.88.4/30", ipv6: "fc00::1:0/112" },
  { key: "10.5.88.0-24&fd00:1:0:2:3:4:5:0-112", ipv4: "10.5.88.0/24", ipv6: "fd00:1:0:2:3:4:5:0/112" },
];

for (const { key, ipv4, ipv6 } of KEYS) {
  Deno.test(`lease key ${key} there and back`, () => {
    const subnets = decodeLeaseKey(key);
    assert.equal(subnets?.ipv4 && formatPrefix(subnets.ipv4), ipv4);
    assert.equal(subnets?.ipv6 && formatPrefix(subnets.ipv6), ipv6);
    assert.equal(encodeLeaseKey(subnets!), key);
    assert.equal(
      encodeLeaseKey({
        ...ipv4 ? { ipv4: parsePrefix(ipv4) } : {},
        ...ipv6 ? { ipv6: parsePrefix(ipv6) } : {},
      }),
      key,
    );
  });
}

Deno.test("what isn't a lease key", () => {
  const bad = [
    ...[
      "",
      "x",
      "10.5.88.0",
      "10.5.88.0/24",
      "10.5.88.0-",
      "10.5.88.0-33",
      "10.5.88.0-0",
      "10.5.88.1-24",
      "10.5.88-24",
    ],
    ...[
      "10.5.88.0-24&",
      "10.5.88.0-24&fc00::-129",
      "10.5.88.0-24&10.6.0.0-24",
      "fc00:0:0:1::-64",
      "010.5.88.0-24",
    ],
    ...[
      "10.5.88.0-24&fc00::-64&fc00::-64",
      "10.5.88.0--24",
      "10.5.88.0-24 ",
      "0.0.0.0-0&::-0",
      "10.5.88.0-24/x",
    ],
  ];
  for (const key of bad) assert.equal(decodeLeaseKey(key), undefined, JSON.stringify(key));
});

Deno.test("keys are the same by their subnets, not by their text", () => {
  assert.ok(sameLeaseKey("10.5.88.0-24", "10.5.88.0-24"));
  assert.ok(sameLeaseKey("10.5.88.0-24&fc00:0:0:1::-64", "10.5.88.0-24&FC00:0:0:1:0:0:0:0-64"));
  assert.ok(!sameLeaseKey("10.5.88.0-24&fc00:0:0:1::-64", "10.5.89.0-24&fc00:0:0:1::-64"));
  assert.ok(!sameLeaseKey("10.5.88.0-24&fc00:0:0:1::-64", "10.5.88.0-24&fc00:0:0:2::-64"));
  assert.ok(!sameLeaseKey("10.5.88.0-24&fc00:0:0:1::-64", "10.5.88.0-24"));
  assert.ok(!sameLeaseKey("junk&x", "junk&y"));
});

const MAC = { VNI: 1, VtepMAC: "3e:4b:bc:75:ce:43" };
const VALUES: { text: string; attributes: LeaseAttributes }[] = [
  {
    text:
      '{"PublicIP":"172.30.0.2","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"3e:4b:bc:75:ce:43"}}',
    attributes: {
      publicIps: { ipv4: parseIp("172.30.0.2") },
      backendType: "vxlan",
      backendData: { ipv4: MAC },
    },
  },
  {
    text: '{"PublicIP":"172.30.0.2","PublicIPv6":null,"BackendType":"host-gw"}',
    attributes: { publicIps: { ipv4: parseIp("172.30.0.2") }, backendType: "host-gw", backendData: {} },
  },
  {
    text: '{"PublicIP":"172.30.0.2","PublicIPv6":null}',
    attributes: { publicIps: { ipv4: parseIp("172.30.0.2") }, backendData: {} },
  },
  {
    text: '{"PublicIP":"172.30.0.2","PublicIPv6":"fd00::2","BackendType":"vxlan",' +
      '"BackendData":{"VNI":1,"VtepMAC":"3e:4b:bc:75:ce:43"},"BackendV6Data":{"VNI":1,"VtepMAC":"3e:4b:bc:75:ce:43"}}',
    attributes: {
      publicIps: { ipv4: parseIp("172.30.0.2"), ipv6: parseIp("fd00::2") },
      backendType: "vxlan",
      backendData: { ipv4: MAC, ipv6: MAC },
    },
  },
  {
    text: '{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::2","BackendType":"host-gw"}',
    attributes: { publicIps: { ipv6: parseIp("fd00::2") }, backendType: "host-gw", backendData: {} },
  },
  {
    // Go escapes these inside strings.
    text:
      '{"PublicIP":"172.30.0.2","PublicIPv6":null,"BackendType":"x","BackendData":"\\u003ca\\u0026b\\u003e\\u2028"}',
    attributes: {
      publicIps: { ipv4: parseIp("172.30.0.2") },
      backendType: "x",
      backendData: { ipv4: "<a&b>\u2028" },
    },
  },
];

for (const { text, attributes } of VALUES) {
  Deno.test(`lease value ${text.slice(0, 70)} there and back`, () => {
    assert.equal(encodeLeaseValue(attributes), text);
    assert.deepEqual(decodeLeaseValue(text), attributes);
  });
}

Deno.test("a value is read whatever its order, spaces, case and other fields", () => {
  const text = ` {"BackendData": {"VNI": 1, "VtepMAC": "3e:4b:bc:75:ce:43"}, "New": [1],
    "backendtype": "vxlan", "PUBLICIP": "172.30.0.2", "BackendV6Data": null} `;
  assert.deepEqual(decodeLeaseValue(text), VALUES[0]!.attributes);
});

Deno.test("a malformed value is a fault that names the key and quotes what is wrong", () => {
  const cases: [string, RegExp][] = [
    ["", /a JSON object/],
    ["not json", /"not json" isn't a JSON object/],
    ["null", /a JSON object/],
    ["[]", /a JSON object/],
    ["{}", /no PublicIP/],
    ['{"PublicIP":"0.0.0.0","PublicIPv6":null}', /no PublicIP/],
    ['{"PublicIP":"172.30.0.300"}', /PublicIP .*172\.30\.0\.300.* isn't an IPv4 address/],
    ['{"PublicIP":"fd00::2"}', /isn't an IPv4 address/],
    ['{"PublicIP":7}', /PublicIP "7" isn't an IPv4 address/],
    ['{"PublicIP":"172.30.0.2","PublicIPv6":"172.30.0.2"}', /isn't an IPv6 address/],
    ['{"PublicIP":"172.30.0.2","BackendType":{}}', /BackendType/],
    ["\u0000\ufffd".repeat(1000), /a JSON object/],
  ];
  for (const [value, reason] of cases) {
    const { fault } = decodeLease({ key: "10.5.88.0-24", value });
    assert.equal(fault?.key, "10.5.88.0-24", value);
    assert.match(fault.reason, reason);
    assert.ok(fault.reason.length < 700, "a fault must fit into a log line");
  }
  const { fault } = decodeLease({ key: "oops", value: VALUES[0]!.text });
  assert.match(fault!.reason, /"oops" isn't a lease key/);
});

Deno.test("random text never throws", () => {
  const alphabet = '{}[]",:0123456789.PublicIPnull-&\\u0000fc';
  for (let i = 0; i < 3000; i++) {
    const length = Math.floor(Math.random() * 40);
    const text = Array.from({ length }, () => alphabet[Math.floor(Math.random() * alphabet.length)]).join("");
    decodeLease({ key: text, value: text });
    decodeLeaseValue(`{"PublicIP":${text}}`);
    const subnets = decodeLeaseKey(text);
    if (subnets) assert.ok(sameLeaseKey(encodeLeaseKey(subnets), text));
  }
});

Deno.test("addresses print as inet_ntop does", () => {
  assert.equal(formatIp(parseIp("FC00:0:0:1:0:0:0:0")), "fc00:0:0:1::");
  assert.equal(formatIp(parseIp("fd00:1:0:2:3:4:5:6")), "fd00:1:0:2:3:4:5:6");
});
