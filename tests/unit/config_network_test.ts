import assert from "node:assert/strict";
import { completeConfig, parseNetworkConfig } from "../../lib/config/network_config.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import { formatIp } from "../../lib/net/ip.ts";
import { formatPrefix } from "../../lib/net/prefix.ts";

/** The faults' messages; empty for a good config. */
function faults(config: unknown): string[] {
  const text = typeof config === "string" ? config : JSON.stringify(config);
  return parseNetworkConfig(text).faults.map((fault) => fault.message);
}

/** Each family as `network length min max`. */
function families(config: unknown): string[] {
  return parseNetworkConfig(JSON.stringify(config)).families.map((one) =>
    [formatPrefix(one.network), one.subnetLength, formatIp(one.subnetMin), formatIp(one.subnetMax)].join(" ")
  );
}

const v6 = (more: JsonObject) => ({ EnableIPv4: false, EnableIPv6: true, ...more });

Deno.test("network config: defaults of each family", () => {
  const table: [JsonObject, string][] = [
    [{ Network: "10.5.0.0/16" }, "10.5.0.0/16 24 10.5.1.0 10.5.255.0"],
    [{ Network: "10.5.3.4/16" }, "10.5.0.0/16 24 10.5.1.0 10.5.255.0"],
    [{ Network: "10.0.0.0/8" }, "10.0.0.0/8 24 10.0.1.0 10.255.255.0"],
    [{ Network: "10.5.0.0/22" }, "10.5.0.0/22 24 10.5.1.0 10.5.3.0"],
    [{ Network: "10.5.0.0/23" }, "10.5.0.0/23 25 10.5.0.128 10.5.1.128"],
    [{ Network: "10.5.0.0/24" }, "10.5.0.0/24 26 10.5.0.64 10.5.0.192"],
    [{ Network: "10.5.0.0/28" }, "10.5.0.0/28 30 10.5.0.4 10.5.0.12"],
    [{ Network: "10.5.0.0/16", SubnetLen: 0 }, "10.5.0.0/16 24 10.5.1.0 10.5.255.0"],
    [{ Network: "10.5.0.0/16", SubnetLen: null }, "10.5.0.0/16 24 10.5.1.0 10.5.255.0"],
    [{ Network: "10.5.0.0/16", SubnetMin: "", SubnetMax: "" }, "10.5.0.0/16 24 10.5.1.0 10.5.255.0"],
    [{ Network: "10.5.0.0/16", SubnetMin: "0.0.0.0" }, "10.5.0.0/16 24 10.5.1.0 10.5.255.0"],
    [
      { Network: "10.5.0.0/16", SubnetLen: 28, SubnetMin: "10.5.0.16", SubnetMax: "10.5.9.240" },
      "10.5.0.0/16 28 10.5.0.16 10.5.9.240",
    ],
    [{ Network: "10.5.0.0/16", SubnetMin: "10.5.0.0" }, "10.5.0.0/16 24 10.5.0.0 10.5.255.0"],
    [{ Network: "255.255.0.0/16" }, "255.255.0.0/16 24 255.255.1.0 255.255.255.0"],
    [v6({ IPv6Network: "fc00::/48" }), "fc00::/48 64 fc00:0:0:1:: fc00:0:0:ffff::"],
    [v6({ IPv6Network: "fc00::/62" }), "fc00::/62 64 fc00:0:0:1:: fc00:0:0:3::"],
    [v6({ IPv6Network: "fc00::/63" }), "fc00::/63 65 fc00::8000:0:0:0 fc00:0:0:1:8000::"],
    [v6({ IPv6Network: "fc00::/124" }), "fc00::/124 126 fc00::4 fc00::c"],
    [
      v6({ IPv6Network: "fc00::/48", IPv6SubnetLen: 60, IPv6SubnetMin: "fc00:0:0:20::" }),
      "fc00::/48 60 fc00:0:0:20:: fc00:0:0:fff0::",
    ],
  ];
  for (const [config, expected] of table) assert.deepEqual(families(config), [expected]);
  assert.deepEqual(families({ Network: "10.5.0.0/16", EnableIPv6: true, IPv6Network: "fc00::/48" }), [
    "10.5.0.0/16 24 10.5.1.0 10.5.255.0",
    "fc00::/48 64 fc00:0:0:1:: fc00:0:0:ffff::",
  ]);
});

const NET = { Network: "10.5.0.0/16" };

/** Configs that break a rule, each with its faults. */
const BROKEN: readonly (readonly [unknown, ...string[]])[] = [
  [{}, "Network is not set: must be an IPv4 network like 10.5.0.0/16, because EnableIPv4 is true"],
  [{ Network: "" }, 'Network "": must be an IPv4 network like 10.5.0.0/16, because EnableIPv4 is true'],
  [
    { Network: "10.5.0.0" },
    'Network "10.5.0.0": must be an IPv4 network with its length, like 10.5.0.0/16',
  ],
  [{ Network: 10 }, "Network 10: must be an IPv4 network with its length, like 10.5.0.0/16"],
  [
    { Network: "fc00::/48" },
    'Network "fc00::/48": must be an IPv4 network with its length, like 10.5.0.0/16',
  ],
  [
    { Network: "10.5.0.0/29" },
    'Network "10.5.0.0/29": the length must be between 1 and 28, so that there are subnets to give away',
  ],
  [
    { Network: "0.0.0.0/0" },
    'Network "0.0.0.0/0": the length must be between 1 and 28, so that there are subnets to give away',
  ],
  [
    { Network: "10.5.0.0/24", SubnetLen: 33 },
    "SubnetLen 33: must be between 26 and 30 for Network 10.5.0.0/24",
  ],
  [{ ...NET, SubnetLen: 17 }, "SubnetLen 17: must be between 18 and 30 for Network 10.5.0.0/16"],
  [{ ...NET, SubnetLen: 31 }, "SubnetLen 31: must be between 18 and 30 for Network 10.5.0.0/16"],
  [{ ...NET, SubnetLen: -1 }, "SubnetLen -1: must be between 18 and 30 for Network 10.5.0.0/16"],
  [
    { ...NET, SubnetLen: 24.5 },
    "SubnetLen 24.5: must be a whole number, between 18 and 30 for Network 10.5.0.0/16",
  ],
  [
    { ...NET, SubnetLen: "24" },
    'SubnetLen "24": must be a whole number without quotes, between 18 and 30 for Network 10.5.0.0/16',
  ],
  [
    { ...NET, SubnetMin: "10.6.0.0" },
    'SubnetMin "10.6.0.0": must lie in 10.5.0.0/16',
  ],
  [
    { ...NET, SubnetMin: "10.5.1.1" },
    'SubnetMin "10.5.1.1": must be the first address of a /24, like 10.5.1.0 or 10.5.2.0',
  ],
  [
    { ...NET, SubnetMax: "10.5.255.9" },
    'SubnetMax "10.5.255.9": must be the first address of a /24, like 10.5.255.0',
  ],
  [
    { ...NET, SubnetMax: "10.5.9.0/24" },
    'SubnetMax "10.5.9.0/24": must be an IPv4 address without a length, like 10.5.0.0',
  ],
  [
    { ...NET, SubnetMin: "10.5.9.0", SubnetMax: "10.5.8.0" },
    'SubnetMin "10.5.9.0": SubnetMin (10.5.9.0) must not lie above SubnetMax (10.5.8.0)',
  ],
  [
    { ...NET, SubnetMax: "10.5.0.0" },
    'SubnetMax "10.5.0.0": SubnetMin (10.5.1.0) must not lie above SubnetMax (10.5.0.0)',
  ],
  [
    { EnableIPv4: false },
    "EnableIPv4 false: one of EnableIPv4 and EnableIPv6 must be true",
  ],
  [
    v6({}),
    "IPv6Network is not set: must be an IPv6 network like fc00::/48, because EnableIPv6 is true",
  ],
  [
    v6({ IPv6Network: "fc00::/125" }),
    'IPv6Network "fc00::/125": the length must be between 1 and 124, so that there are subnets to give away',
  ],
  [
    v6({ IPv6Network: "fc00::/48", IPv6SubnetLen: 127 }),
    "IPv6SubnetLen 127: must be between 50 and 126 for IPv6Network fc00::/48",
  ],
  [
    v6({ IPv6Network: "fc00::/48", IPv6SubnetMin: "fc00:0:0:1::1" }),
    'IPv6SubnetMin "fc00:0:0:1::1": must be the first address of a /64, like fc00:0:0:1:: or fc00:0:0:2::',
  ],
  [{ ...NET, EnableIPv6: "true" }, 'EnableIPv6 "true": must be true or false without quotes'],
  [{ ...NET, EnableNFTables: 1 }, "EnableNFTables 1: must be true or false"],
  [{ ...NET, PeerFilter: "on" }, 'PeerFilter "on": must be true or false'],
  [{ ...NET, Backend: "vxlan" }, 'Backend "vxlan": must be an object like {"Type": "vxlan"}'],
  [{ ...NET, Backend: {} }, 'Backend.Type is not set: must be the name of a backend, like "vxlan"'],
  [{ ...NET, Backend: { Type: 1 } }, "Backend.Type 1: must be a string in double quotes"],
  [
    { Network: "10.5.0.0/24", SubnetLen: 33, PeerFilter: 1, Backend: [] },
    "SubnetLen 33: must be between 26 and 30 for Network 10.5.0.0/24",
    "PeerFilter 1: must be true or false",
    'Backend []: must be an object like {"Type": "vxlan"}',
  ],
  [
    "[]",
    'the network config must be a JSON object in {}, like {"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}',
  ],
];

Deno.test("network config: each broken rule names key, value and rule", () => {
  for (const [config, ...expected] of BROKEN) assert.deepEqual(faults(config), expected);
});

Deno.test("network config: broken JSON is located and the usual mistakes are named", () => {
  const table: [string, string][] = [
    ["", "line 1, column 1: the text is empty: a JSON object in {} was expected"],
    [
      '{\n  "Network": "10.5.0.0/16",\n}',
      'line 2, column 27: "," before "}": JSON has no comma after the last element, take it away',
    ],
    [
      "{'Network': 1}",
      `line 1, column 2: a key in double quotes was expected, found "'" (JSON has double quotes only)`,
    ],
    [
      '{"Network": }',
      'line 1, column 13: a value for key "Network" was expected, found "}" (the value is empty)',
    ],
    [
      '{"Network": 10.5.0.0/16}',
      "line 1, column 13: 10.5.0.0 isn't a JSON number (addresses must stand in double quotes)",
    ],
    [
      '{"EnableIPv6": True}',
      'line 1, column 16: a value for key "EnableIPv6" was expected, found "True" (write true)',
    ],
    [
      '{"Network": "x"',
      'line 1, column 16: "," or "}" was expected in the object, found the end of the text',
    ],
    ['{"Network": "x}', 'line 1, column 13: the string that begins here has no closing "'],
    [
      '{"Network": "x"\n "Backend": {}}',
      'line 2, column 2: "," or "}" was expected in the object, found "\\"" (is a comma missing before it?)',
    ],
  ];
  for (const [text, expected] of table) assert.deepEqual(faults(text), [`not valid JSON: ${expected}`]);
  assert.deepEqual(
    faults("[".repeat(100_000)).length,
    1,
    "deep nesting ends in a fault, not in a stack overflow",
  );
});

Deno.test("network config: keys and types match whatever their case, the last of several wins", () => {
  const parse = parseNetworkConfig;
  const config = parse('{"network":"10.5.0.0/16","BACKEND":{"type":"VXLAN","vni":7}}');
  assert.deepEqual(config.backend, { type: "vxlan", options: { vni: 7 } });
  assert.deepEqual(config.warnings, []);
  const last = (text: string) => parse(text).families[0]!.subnetLength;
  assert.equal(last('{"Network":"10.5.0.0/16","SubnetLen":26,"subnetlen":27}'), 27);
  assert.equal(last('{"Network":"10.5.0.0/16","subnetlen":27,"SubnetLen":26}'), 26);
  assert.equal(last('{"Network":"10.5.0.0/16","SubnetLen":26,"subnetlen":27,"SubnetLen":28}'), 28);
  assert.equal(last('{"Network":"10.5.0.0/16","SubnetLen":26,"subnetlen":null}'), 26);
  assert.deepEqual(parse('{"Network":"10.5.0.0/16"}').backend, { type: "udp", options: {} });
  assert.deepEqual(parse('{"Network":"10.5.0.0/16","Backend":null}').backend, { type: "udp", options: {} });
});

Deno.test("network config: unknown and ignored keys become warnings that name them", () => {
  const config = parseNetworkConfig(
    '{"Netwrok":"x","Network":"10.5.0.0/16","Foo":1,"__proto__":2,"IPv6Network":"fc00::/48"}',
  );
  assert.deepEqual(config.unknownKeys, ["Netwrok", "Foo", "__proto__"]);
  assert.deepEqual(config.warnings, [
    "IPv6Network: ignored, because EnableIPv6 is false",
    "Netwrok: unknown key, ignored (did you mean Network?)",
    "Foo: unknown key, ignored",
    "__proto__: unknown key, ignored",
  ]);
});

Deno.test("network config: the completed config reads as the same config", () => {
  const table: JsonObject[] = [
    { network: "10.5.0.0/16" },
    { Network: "10.5.0.0/24", peerfilter: true, EnableNFTables: true, backend: { type: "Host-GW" } },
    { Network: "10.5.0.0/16", EnableIPv6: true, IPv6Network: "fc00::/48" },
    v6({ IPv6Network: "fc00::/124" }),
  ];
  for (const config of table) {
    const parsed = parseNetworkConfig(JSON.stringify(config));
    const complete = completeConfig(parsed, {});
    const again = parseNetworkConfig(JSON.stringify(complete));
    assert.deepEqual(again, parsed);
    assert.deepEqual(completeConfig(again, {}), complete);
  }
  const config = parseNetworkConfig('{"network":"10.5.0.0/16","backend":{"type":"VXLAN"}}');
  assert.equal(
    JSON.stringify(completeConfig(config, { VNI: 1 })),
    '{"EnableIPv4":true,"Network":"10.5.0.0/16","SubnetLen":24,"SubnetMin":"10.5.1.0","SubnetMax":"10.5.255.0",' +
      '"EnableIPv6":false,"EnableNFTables":false,"PeerFilter":false,"Backend":{"Type":"vxlan","VNI":1}}',
  );
});

Deno.test("network config: what is wrong with the network hides neither the families nor the backend", () => {
  const config = parseNetworkConfig('{"Network":"10.5.0.0/99","EnableIPv6":true,"Backend":{"Type":"udp"}}');
  assert.deepEqual(config.faults.map(({ key }) => key), ["Network", "IPv6Network"]);
  assert.deepEqual([config.enabled.map(({ name }) => name), config.backend.type], [["ipv4", "ipv6"], "udp"]);
});
