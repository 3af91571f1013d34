/**
 * Firewall managers, and whether they let the tunnel in.
 *
 * @module
 */
import { familiesOf, type Family } from "../../net/family.ts";
import { formatIp } from "../../net/ip.ts";
import { formatPrefix } from "../../net/prefix.ts";
import { isUdpTunnel, type Tunnel } from "../../net/tunnel.ts";
import type { ArrivingPacket } from "../../firewall/arrival.ts";
import { type Fate, fateOf } from "../../firewall/iptables_input.ts";
import { parseSavedTable } from "../../firewall/iptables_text.ts";
import { dropsForSure, inputChains } from "../../firewall/nftables_input.ts";
import type { HostFiles } from "../host_files.ts";
import type { Scene } from "../scene.ts";
import { type Check, count, type Finding, ok } from "../types.ts";

/** How many peers' packets are followed through the rules. */
const MAX_PEERS = 64;

/** IANA protocol number of UDP. */
const UDP = 17;

/** A chain that drops packets of the tunnel. */
export interface ClosedInput {
  /** iptables and its chain, or the chain of nftables. */
  readonly chain: string;
  /** What drops them. */
  readonly by: string;
  /** Absent for a tunnel that isn't over UDP. */
  readonly port?: number;
  readonly ipProtocol: number;
  /** Addresses of peers whose packets are dropped; empty where no peer is known: then it is those of all. */
  readonly peers: readonly string[];
  /** The command that lets them in, without the condition. */
  readonly insert: string;
}

interface FirewallManagers {
  /** ufw's rules are loaded. */
  readonly ufw: boolean;
  readonly firewalld: boolean;
  /** Texts of firewalld's zones. */
  readonly zones: string;
  readonly closed: readonly ClosedInput[];
  /** UDP ports of the tunnel; empty for backends without one. */
  readonly ports: readonly number[];
  readonly networks: readonly string[];
  readonly devices: readonly string[];
}

/** Looks for ufw and firewalld, and follows a packet of each peer through the input chains. */
export const otherFirewalls: Check<FirewallManagers> = {
  name: "managers",
  group: "firewall",
  looksAt: "ufw, firewalld and input chains, and whether they let the tunnel in",
  async read(scene) {
    const { files } = scene;
    const { tunnel } = await scene.openedBackend();
    const saved = [...(await scene.savedTables("filter")).values()];
    return {
      ufw: saved.some((text) => /^:ufw-/m.test(text)),
      firewalld: await files.exists("/run/firewalld.pid") ||
        await files.exists("/run/firewalld/firewalld.pid"),
      zones: await readZones(files),
      closed: tunnel ? await closedInputs(scene, tunnel) : [],
      ports: tunnel && isUdpTunnel(tunnel) ? tunnel.udpPorts : [],
      networks: (await scene.network()).config.families.map(({ network }) => formatPrefix(network)),
      devices: (await scene.plan()).links.map(({ name }) => name),
    };
  },
  judge(facts) {
    const findings = [...facts.closed.map((closed) => judgeClosed(closed, facts)), ...judgeFirewalld(facts)];
    if (findings.length > 0) return findings;
    return [ok(facts.ufw ? "ufw is active and lets the tunnel in" : "no firewall keeps the tunnel out")];
  },
};

/** The tunnel's packets as they come in: of each family, port and peer one. */
async function arrivals(scene: Scene, tunnel: Tunnel, family: Family): Promise<ArrivingPacket[]> {
  const { name: device } = await scene.external();
  const peers = (await scene.peersIfKnown()).slice(0, MAX_PEERS);
  const addresses = peers.flatMap(({ attributes }) => attributes.publicIps[family.name] ?? []);
  const wires = isUdpTunnel(tunnel)
    ? tunnel.udpPorts.map((udpPort) => ({ udpPort, ipProtocol: UDP }))
    : [{ ipProtocol: tunnel.ipProtocol }];
  return wires.flatMap((wire) => [
    ...addresses.map((from): ArrivingPacket => ({ family, device, from, ...wire })),
    ...addresses.length > 0 ? [] : [{ family, device, ...wire }],
  ]);
}

/** Follows the packets through INPUT of each iptables and the input chains of nftables. */
async function closedInputs(scene: Scene, tunnel: Tunnel): Promise<ClosedInput[]> {
  const { nft } = await scene.tools();
  const listing = nft ? await scene.run("nft", ["-j", "list", "chains"]) : undefined;
  const chains = listing?.code === 0 ? inputChains(listing.stdout) : [];
  const closed = new Map<string, ClosedInput>();
  for (const family of familiesOf((await scene.external()).publicIps)) {
    const packets = await arrivals(scene, tunnel, family);
    for (const [program, text] of await scene.savedTables("filter", family)) {
      const table = parseSavedTable(text, "filter");
      for (const packet of packets) {
        const fate = fateOf(table, packet);
        const insert = `${program} -I INPUT`;
        if (fate.verdict === "drop") {
          add(closed, packet, { chain: `INPUT of ${program}`, insert, fate, program });
        }
      }
    }
    for (const { family: kind, table, name } of chains) {
      const chain = `${kind} ${table} ${name}`;
      const { code, stdout } = await scene.run("nft", ["-j", "list", "chain", kind, table, name]);
      for (const packet of code === 0 ? packets : []) {
        if (!dropsForSure(stdout, packet)) continue;
        const fate: Fate = { verdict: "drop", by: `nft list chain ${chain}` };
        add(closed, packet, { chain: `nftables chain ${chain}`, insert: `nft insert rule ${chain}`, fate });
      }
    }
  }
  return [...closed.values()];
}

function add(
  closed: Map<string, ClosedInput>,
  { from, udpPort, ipProtocol }: ArrivingPacket,
  { chain, insert, fate, program }: { chain: string; insert: string; fate: Fate; program?: string },
): void {
  const key = `${chain} ${udpPort} ${fate.by}`;
  const before = closed.get(key);
  closed.set(key, {
    ...{ chain, insert, ipProtocol },
    ...(udpPort === undefined ? {} : { port: udpPort }),
    by: program === undefined ? fate.by : `${program} -S: ${fate.by}`,
    peers: [...before?.peers ?? [], ...(from ? [formatIp(from)] : [])],
  });
}

function judgeClosed(closed: ClosedInput, { ufw }: FirewallManagers): Finding {
  const { chain, by, port, ipProtocol, peers, insert } = closed;
  const what = port === undefined ? `IP protocol ${ipProtocol}` : `UDP port ${port}`;
  const whose = peers.length > 0 ? `of ${count(peers.length, "peer")} ` : "";
  const isNft = insert.startsWith("nft ");
  const byUfw = ufw && !isNft;
  const condition = isNft
    ? port === undefined ? `meta l4proto ${ipProtocol} accept` : `udp dport ${port} accept`
    : port === undefined
    ? `-p ${ipProtocol} -j ACCEPT`
    : `-p udp --dport ${port} -j ACCEPT`;
  return {
    severity: "warning",
    text: `${chain} drops the tunnel's packets ${whose}(${what})${byUfw ? ": ufw is active" : ""}`,
    evidence: [by, ...peers.slice(0, 10).map((peer) => `from ${peer}`)],
    remedy: [
      byUfw && port !== undefined ? `ufw allow ${port}/udp comment flannel` : `${insert} ${condition}`,
    ],
  };
}

function judgeFirewalld({ firewalld, zones, ports, networks, devices }: FirewallManagers): Finding[] {
  if (!firewalld) return [];
  const lacking = devices.filter((name) => !zones.includes(`"${name}"`));
  const closed = ports.filter((port) => !zones.includes(`port="${port}"`));
  if (lacking.length === 0 && closed.length === 0) {
    return [ok("firewalld is active, its zones know our devices")];
  }
  return [{
    severity: "warning",
    text: "firewalld is active and its zones don't name " + [
      ...lacking,
      ...closed.map((port) => `UDP port ${port}`),
    ].join(", ") + ": it drops what it doesn't know",
    evidence: ["/run/firewalld.pid exists", "/etc/firewalld/zones/*.xml"],
    remedy: [
      ...closed.map((port) => `firewall-cmd --permanent --add-port=${port}/udp`),
      ...lacking.map((name) => `firewall-cmd --permanent --zone=trusted --add-interface=${name}`),
      ...networks.map((network) => `firewall-cmd --permanent --zone=trusted --add-source=${network}`),
      "firewall-cmd --reload",
    ],
  }];
}

async function readZones(files: HostFiles): Promise<string> {
  const folder = "/etc/firewalld/zones";
  const zones = (await files.names(folder)).filter((name) => name.endsWith(".xml"));
  const texts = await Promise.all(zones.map((name) => files.text(`${folder}/${name}`)));
  return texts.join("\n");
}
