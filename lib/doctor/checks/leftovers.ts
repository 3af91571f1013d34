/**
 * What earlier networks and other network programs left on this host.
 *
 * @module
 */
import { linkAlias } from "../../kernel/own_links.ts";
import { networkIdOf } from "../../daemon/store.ts";
import { formatIp, type Ip } from "../../net/ip.ts";
import { containsIp, formatPrefix, type Prefix, samePrefix } from "../../net/prefix.ts";
import type { HostFiles } from "../host_files.ts";
import { type Check, type Finding, ok } from "../types.ts";

/** Devices of other programs that carry containers' packets, by their names. */
const OTHERS: readonly (readonly [RegExp, string])[] = [
  [/^(cali[0-9a-f]+|vxlan\.calico|vxlan-v6\.calico)$/, "Calico"],
  [/^(cilium_\w+|lxc\w+)$/, "Cilium"],
  [/^(weave|vethwe-\w+)$/, "Weave Net"],
  [/^(kube-bridge|kube-dummy-if)$/, "kube-router"],
  [/^(antrea-gw0|ovn-k8s-mp0)$/, "Antrea or OVN-Kubernetes"],
];

const CNI_FOLDER = "/etc/cni/net.d";

interface Leftovers {
  readonly networks: readonly Prefix[];
  readonly subnets: readonly Prefix[];
  /** The subnets come from the subnet file; before there is one they are a guess. */
  readonly hasSubnet: boolean;
  /** Devices named flannel… that the plan doesn't have. */
  readonly strays: readonly {
    readonly name: string;
    readonly kind: string;
    readonly alias: string | undefined;
  }[];
  readonly devices: readonly string[];
  /** Addresses of containers' bridges. */
  readonly bridges: readonly { readonly name: string; readonly ip: Ip; readonly length: number }[];
  /** Networks in the subnet file that aren't the config's. */
  readonly formerNetworks: readonly Prefix[];
  readonly subnetFile: string;
  /** CNI network configurations that sort before flannel's, with the type of their plugins. */
  readonly cniBefore: readonly { readonly name: string; readonly types: string }[];
}

/** Reads devices, bridges, the subnet file and CNI's folder. */
export const leftovers: Check<Leftovers> = {
  name: "leftovers",
  group: "host",
  looksAt: "devices, bridges, files and CNI configurations of earlier networks and other programs",
  async read(scene) {
    const { kernel, options } = scene;
    const { config } = await scene.network();
    const planned = new Set((await scene.plan()).links.map(({ name }) => name));
    const file = await scene.subnetFile();
    const networks = config.families.map(({ network }) => network);
    const ours = linkAlias(networkIdOf(options));
    return {
      networks,
      subnets: Object.values(await scene.subnets()),
      hasSubnet: Object.keys(file?.subnets ?? {}).length > 0,
      strays: kernel.links.filter(({ name, alias }) =>
        /^flannel/.test(name) && !planned.has(name) && (alias === undefined || alias === ours)
      ).map(({ name, kind = "physical", alias }) => ({ name, kind, alias })),
      devices: kernel.links.map(({ name }) => name),
      bridges: kernel.addresses.flatMap(({ linkIndex, ip, prefixLength: length, scope }) => {
        const link = kernel.links.find(({ index }) => index === linkIndex);
        const isBridge = link && /^(cni0|cbr0|docker0|flannel-br0)$/.test(link.name);
        return isBridge && scope === 0 ? [{ name: link.name, ip, length }] : [];
      }),
      formerNetworks: Object.values(file?.networks ?? {}).filter((one) =>
        !networks.some((network) => samePrefix(network, one))
      ),
      subnetFile: options.subnetFile,
      cniBefore: await configurationsBefore(scene.files),
    };
  },
  judge(facts) {
    const findings = [
      ...judgeStrays(facts),
      ...judgeBridges(facts),
      ...judgeSubnetFile(facts),
      ...judgeOthers(facts),
      ...judgeCni(facts),
    ];
    return findings.length > 0 ? findings : [ok("nothing of earlier networks or other network programs")];
  },
};

function judgeStrays({ strays }: Leftovers): Finding[] {
  return strays.map(({ name, kind, alias }) => ({
    severity: "warning",
    text: `the device ${name} (${kind}) is of an earlier network: its routes may catch packets`,
    evidence: [`ip -details link show ${name}${alias === undefined ? "" : ` (alias ${alias})`}`],
    remedy: [`ip link delete ${name}`],
  }));
}

function judgeBridges({ networks, subnets, hasSubnet, bridges }: Leftovers): Finding[] {
  if (!hasSubnet) return [];
  return bridges.flatMap(({ name, ip, length }): Finding[] => {
    const mine = subnets.filter(({ family }) => family === ip.family);
    if (mine.length === 0 || mine.some((subnet) => containsIp(subnet, ip))) return [];
    const evidence = [
      `ip address show dev ${name}: ${formatIp(ip)}/${length}`,
      `subnet file: ${mine.map(formatPrefix)}`,
    ];
    const text = `${name} has ${formatIp(ip)}/${length}, which is not in this host's subnet ${
      mine.map(formatPrefix)
    }`;
    if (name !== "docker0") {
      return [{
        severity: "fault",
        text: `${text}: new containers fail ("${name}" already has an IP address different from …)`,
        evidence,
        remedy: [
          `ip link delete ${name}   # the next container makes it; running ones must be started again`,
        ],
      }];
    }
    const inside = networks.some((network) => containsIp(network, ip));
    return [{
      severity: inside ? "warning" : "note",
      text: inside
        ? `${text}: other hosts send packets for it elsewhere`
        : `${text}: Docker doesn't use flannel's subnet`,
      evidence,
      remedy: [
        "mk-docker-opts.sh -i && systemctl restart docker   # Docker's unit must read /run/docker_opts.env",
      ],
    }];
  });
}

function judgeSubnetFile({ formerNetworks, networks, subnetFile }: Leftovers): Finding[] {
  if (formerNetworks.length === 0) return [];
  return [{
    severity: "warning",
    text: `${subnetFile} is of the network ${formerNetworks.map(formatPrefix).join(", ")}, ` +
      `the config says ${
        networks.map(formatPrefix).join(", ")
      }: containers use the former until flanneld starts again`,
    evidence: [`grep NETWORK ${subnetFile}`],
    remedy: ["systemctl restart flanneld"],
  }];
}

function judgeOthers({ devices }: Leftovers): Finding[] {
  return OTHERS.flatMap(([pattern, program]): Finding[] => {
    const theirs = devices.filter((name) => pattern.test(name));
    if (theirs.length === 0) return [];
    return [{
      severity: "warning",
      text:
        `devices of ${program} are here: two network programs for containers on one host get in each other's way`,
      evidence: theirs.slice(0, 5).map((name) => `ip link show ${name}`),
      remedy: theirs.slice(0, 5).map((name) =>
        `ip link delete ${name}   # if ${program} isn't used any more`
      ),
    }];
  });
}

function judgeCni({ cniBefore }: Leftovers): Finding[] {
  return cniBefore.map(({ name, types }) => ({
    severity: "warning",
    text:
      `${CNI_FOLDER}/${name} (${types}) sorts before flannel's configuration: container runtimes use it instead`,
    evidence: [`ls ${CNI_FOLDER}`],
    remedy: [`mv ${CNI_FOLDER}/${name} ${CNI_FOLDER}/${name}.disabled`],
  }));
}

async function configurationsBefore(files: HostFiles): Promise<Leftovers["cniBefore"]> {
  const found: { name: string; types: string; isFlannel: boolean }[] = [];
  for (const name of await files.names(CNI_FOLDER)) {
    if (!/\.(conf|conflist|json)$/.test(name)) continue;
    const text = await files.text(`${CNI_FOLDER}/${name}`) ?? "";
    const types = [...text.matchAll(/"type"\s*:\s*"([\w.-]+)"/g)].map(([, type]) => type!);
    found.push({ name, types: types[0] ?? "no type", isFlannel: types.includes("flannel") });
  }
  // libcni sorts by name, as bytes, and takes the first.
  found.sort((a, b) => a.name < b.name ? -1 : 1);
  const flannel = found.findIndex(({ isFlannel }) => isFlannel);
  return flannel < 0 ? [] : found.slice(0, flannel);
}
