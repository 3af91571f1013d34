/**
 * The Network against what else has its addresses: the underlay, other routes, Docker's bridge, Services.
 *
 * @module
 */
import { RTN_UNICAST } from "../../netlink/constants.ts";
import { ROUTE_PROTOCOL } from "../../kernel/actual_entries.ts";
import { formatIp, type Ip, tryParseIp } from "../../net/ip.ts";
import { containsIp, containsPrefix, formatPrefix, type Prefix, prefixesOverlap } from "../../net/prefix.ts";
import type { Scene } from "../scene.ts";
import { type Check, type Finding, ok } from "../types.ts";

interface OverlapFacts {
  readonly networks: readonly Prefix[];
  /** This host's own subnets: containers' bridges have addresses of it. */
  readonly subnets: readonly Prefix[];
  /** Addresses of devices that aren't ours. */
  readonly addresses: readonly { readonly device: string; readonly ip: Ip }[];
  /** Routes that aren't ours. */
  readonly routes: readonly { readonly destination: Prefix; readonly device: string | undefined }[];
  /** The interface to the other hosts. */
  readonly external: string;
  /** Addresses of Services that kube-proxy has rules for. */
  readonly services: readonly Ip[];
}

/** Reads addresses, routes and kube-proxy's rules. */
export const overlap: Check<OverlapFacts> = {
  name: "overlap",
  group: "network",
  looksAt: "addresses and routes of the host, and Services, that lie in the Network",
  async read(scene) {
    const { kernel } = scene;
    const { config } = await scene.network();
    const own = new Set((await scene.plan()).links.map(({ name }) => name));
    const nameOf = new Map(kernel.links.map(({ index, name }) => [index, name]));
    return {
      networks: config.families.map(({ network }) => network),
      subnets: Object.values(await scene.subnets()),
      addresses: kernel.addresses.flatMap(({ linkIndex, ip }) => {
        const device = nameOf.get(linkIndex);
        return device === undefined || own.has(device) ? [] : [{ device, ip }];
      }),
      routes: config.families.flatMap(({ family }) =>
        kernel.routes(family).filter(({ type, protocol }) =>
          type === RTN_UNICAST && protocol !== ROUTE_PROTOCOL
        )
          .map(({ destination, linkIndex }) => ({ destination, device: nameOf.get(linkIndex ?? 0) }))
          .filter(({ device }) => device === undefined || !own.has(device))
      ),
      external: (await scene.external()).name,
      services: await serviceAddresses(scene),
    };
  },
  judge(facts) {
    const findings = [...judgeAddresses(facts), ...judgeRoutes(facts), ...judgeServices(facts)];
    return findings.length > 0
      ? findings
      : [ok(`nothing else on this host has addresses of ${facts.networks.map(formatPrefix).join(" or ")}`)];
  },
};

/** Cluster IPs by kube-proxy's rules; the API server's from the environment of a pod. */
async function serviceAddresses(scene: Scene): Promise<Ip[]> {
  const texts = [Deno.env.get("KUBERNETES_SERVICE_HOST") ?? ""];
  for (const { variant } of (await scene.tools()).iptables) {
    const { stdout } = await scene.run(`iptables${variant}-save`, ["-t", "nat"]);
    texts.push(
      ...[...stdout.matchAll(/^-A KUBE-SERVICES -d ([^/\s]+)\/32 /gm)].map(([, address]) => address!),
    );
  }
  return [...new Set(texts)].flatMap((text) => tryParseIp(text) ?? []);
}

function judgeAddresses({ networks, subnets, addresses, external }: OverlapFacts): Finding[] {
  return addresses.flatMap(({ device, ip }): Finding[] => {
    const network = networks.find((one) => containsIp(one, ip));
    if (!network || subnets.some((subnet) => containsIp(subnet, ip))) return [];
    const text = `${formatIp(ip)} of ${device} lies in the Network ${formatPrefix(network)}`;
    const evidence = [`ip address show dev ${device}: ${formatIp(ip)}`];
    if (device === external) {
      return [{
        severity: "fault",
        text: `${text}: the network and the way between the hosts need different addresses`,
        evidence,
        remedy: chooseAnother(),
      }];
    }
    const remedy = device === "docker0"
      ? [
        '# in /etc/docker/daemon.json: {"bip": "FLANNEL_SUBNET of /run/flannel/subnet.env"}',
        "systemctl restart docker",
      ]
      : chooseAnother();
    return [{ severity: "warning", text: `${text}, not in this host's subnet`, evidence, remedy }];
  });
}

function judgeRoutes({ networks, subnets, routes }: OverlapFacts): Finding[] {
  const overlapping = routes.filter(({ destination }) =>
    destination.length > 0 && networks.some((network) => prefixesOverlap(network, destination)) &&
    !subnets.some((subnet) => containsPrefix(subnet, destination))
  );
  if (overlapping.length === 0) return [];
  // A route to the whole Network and more is the less specific one: peers' routes go before it.
  const severity =
    overlapping.some(({ destination }) => networks.some((one) => containsPrefix(one, destination)))
      ? "warning"
      : "note";
  return [{
    severity,
    text:
      `${overlapping.length} ${
        overlapping.length === 1 ? "route of the host leads" : "routes of the host lead"
      } ` +
      `elsewhere with addresses of the Network ${networks.map(formatPrefix).join(", ")}`,
    evidence: overlapping.slice(0, 10).map(({ destination, device }) =>
      `ip route: ${formatPrefix(destination)}${device === undefined ? "" : ` dev ${device}`}`
    ),
    remedy: chooseAnother(),
  }];
}

function judgeServices({ networks, services }: OverlapFacts): Finding[] {
  const inside = services.filter((ip) => networks.some((network) => containsIp(network, ip)));
  if (inside.length === 0) return [];
  return [{
    severity: "fault",
    text: `Services of the cluster have addresses in the Network ${networks.map(formatPrefix).join(", ")}`,
    evidence: inside.slice(0, 10).map((ip) => `KUBE-SERVICES: ${formatIp(ip)}`),
    remedy: ["# give kube-apiserver another --service-cluster-ip-range, or the network another Network"],
  }];
}

function chooseAnother(): string[] {
  return [
    "flanneld config get >net-conf.json",
    '# in net-conf.json: another "Network"',
    "flanneld config set net-conf.json",
  ];
}
