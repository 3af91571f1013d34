/**
 * What people write: the network config with every backend's keys, the subnet file.
 *
 * @module
 */
import { BACKENDS } from "../../../backends/registry.ts";
import { resolveNetwork } from "../../../lib/backend/network.ts";
import { JsonSyntaxError, parseJson } from "../../../lib/config/json_text.ts";
import { formatSubnetFile, parseSubnetFile } from "../../../lib/config/subnet_file.ts";
import { ConfigError } from "../../../lib/config/types.ts";
import { FAMILIES } from "../../../lib/net/family.ts";
import { containsIp, firstIp, type Prefix } from "../../../lib/net/prefix.ts";
import { type FuzzTarget, property, textOf } from "../target.ts";

const TYPES = [
  "vxlan",
  "host-gw",
  "udp",
  "wireguard",
  "ipip",
  "alloc",
  "aws-vpc",
  "gce",
  "ali-vpc",
  "tencent-vpc",
];
const KEYS = [
  ...["Network", "SubnetLen", "SubnetMin", "SubnetMax", "EnableIPv4", "EnableIPv6", "IPv6Network", "Backend"],
  ...[
    "IPv6SubnetLen",
    "IPv6SubnetMin",
    "IPv6SubnetMax",
    "EnableNFTables",
    "PeerFilter",
    "Type",
    "VNI",
    "Port",
  ],
  ...[
    "GBP",
    "Learning",
    "DirectRouting",
    "MTU",
    "MTUV6",
    "MacPrefix",
    "SourceCheck",
    "Offload",
    "PSK",
    "Mode",
  ],
  ...["RouteTableID", "AccessKeyID", "AccessKeySecret", "__proto__", "constructor"],
];

export const CONFIG_TARGETS: readonly FuzzTarget[] = [
  {
    name: "config",
    what: "the network config, with its backend's keys",
    errors: [ConfigError],
    dictionary: [
      ...KEYS.map((key) => `"${key}":`),
      ...TYPES.map((type) => `"${type}"`),
      ...[
        '"10.5.0.0/16"',
        '"fc00::/48"',
        '"0.0.0.0/0"',
        '"::/0"',
        '"10.5.1.0"',
        "true",
        "null",
        "[",
        "{",
        "}",
        ",",
      ],
      ...['"\\u0000"', '"\\ud800"', "1e400", "-1", '""'],
    ],
    open: () => checkConfig,
  },
  {
    name: "json",
    what: "JSON that people write",
    errors: [JsonSyntaxError],
    dictionary: [
      '"',
      "\\",
      "\\u",
      "{",
      "}",
      "[",
      "]",
      ":",
      ",",
      "null",
      "true",
      "1e5",
      "-",
      '"__proto__":',
      "//",
      "\ufeff",
    ],
    open: () => checkJson,
  },
  {
    name: "subnet-file",
    what: "the subnet file of an earlier run",
    errors: [],
    dictionary: [
      ...[
        "FLANNEL_NETWORK=",
        "FLANNEL_SUBNET=",
        "FLANNEL_IPV6_NETWORK=",
        "FLANNEL_IPV6_SUBNET=",
        "FLANNEL_MTU=",
      ],
      ...[
        "FLANNEL_IPMASQ=",
        "true",
        "false",
        "0.0.0.0/0",
        "10.5.1.1/24",
        "fc00::1/64",
        "'",
        '"',
        "#",
        "\n",
        "\r\n",
      ],
    ],
    open: () => checkSubnetFile,
  },
];

/** The declared default of every key is what a config without that key says: the printed config gives the same. */
async function checkConfig(input: Uint8Array): Promise<void> {
  const resolved = await resolveNetwork(textOf(input), BACKENDS);
  for (const { family, network, subnetLength, subnetMin, subnetMax } of resolved.config.families) {
    property(
      containsIp(network, subnetMin) && containsIp(network, subnetMax),
      "subnets outside of the network",
    );
    property(subnetMin.value <= subnetMax.value, "SubnetMin is above SubnetMax");
    property(
      subnetLength > network.length && subnetLength < family.bits,
      `a subnet length of ${subnetLength}`,
    );
  }
  const printed = JSON.stringify(resolved.complete);
  // Secrets are masked in what is printed.
  if (printed.includes('"***"')) return;
  const again = await resolveNetwork(printed, BACKENDS);
  property(
    JSON.stringify(again.complete) === printed,
    `${printed} is read again as ${JSON.stringify(again.complete)}`,
  );
}

/** The engine's own parser agrees about what JSON is, and on the value but for the place of doubled keys. */
function checkJson(input: Uint8Array): void {
  const text = textOf(input);
  let wanted: unknown;
  let isJson = true;
  try {
    wanted = JSON.parse(text);
  } catch {
    isJson = false;
  }
  const value = parseJson(text);
  property(isJson, "text that isn't JSON is taken");
  property(sorted(value) === sorted(wanted), `${text} is read as ${JSON.stringify(value)}`);
}

function sorted(value: unknown): string {
  return JSON.stringify(value, (_, one) => {
    if (typeof one === "bigint") return `${one}n`;
    if (typeof one !== "object" || one === null || Array.isArray(one)) return one;
    return Object.fromEntries(Object.entries(one).sort(([a], [b]) => a < b ? -1 : 1));
  });
}

function checkSubnetFile(input: Uint8Array): void {
  const file = parseSubnetFile(textOf(input));
  const prefixes = [...Object.values(file.networks), ...Object.values(file.subnets)] as Prefix[];
  for (const prefix of prefixes) {
    property(prefix.length > 0 && containsIp(prefix, firstIp(prefix)), "a prefix of no length");
  }
  const { networks, subnets, mtu, ipMasq } = file;
  if (mtu === undefined || ipMasq === undefined) return;
  // Only pairs are written, and of a subnet the first usable address.
  const isPair = FAMILIES.every(({ name }) =>
    (networks[name] === undefined) === (subnets[name] === undefined)
  );
  const hasRoom = Object.values(subnets).every((subnet) => subnet!.length < subnet!.family.bits);
  if (!isPair || !hasRoom) return;
  const again = parseSubnetFile(formatSubnetFile({ networks, subnets, mtu, ipMasq }));
  property(
    sorted(again) === sorted({ networks, subnets, mtu, ipMasq, faults: [] }),
    "it is read again as another one",
  );
}
