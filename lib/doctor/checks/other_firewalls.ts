/**
 * Firewall managers, and whether they let the tunnel in.
 *
 * @module
 */
import { isUdpTunnel } from "../../net/tunnel.ts";
import type { Scene } from "../scene.ts";
import { formatPrefix } from "../../net/prefix.ts";
import type { HostFiles } from "../host_files.ts";
import { type Check, type Finding, ok } from "../types.ts";

interface FirewallManagers {
  /** ufw is switched on. */
  readonly ufw: boolean;
  /** ufw's DEFAULT_FORWARD_POLICY. */
  readonly ufwForward: string | undefined;
  readonly firewalld: boolean;
  /** Texts of firewalld's zones. */
  readonly zones: string;
  /** Rules of INPUT drop by policy, as each iptables shows them. */
  readonly closedInputs: readonly { readonly program: string; readonly rules: string }[];
  /** UDP ports of the tunnel; empty for backends without one. */
  readonly ports: readonly number[];
  readonly networks: readonly string[];
  readonly devices: readonly string[];
}

/** Looks for ufw, firewalld and closed INPUT chains. */
export const otherFirewalls: Check<FirewallManagers> = {
  name: "managers",
  group: "firewall",
  looksAt: "ufw, firewalld and INPUT policies, and whether they let the tunnel in",
  async read(scene) {
    const { files } = scene;
    const { tunnel } = await scene.openedBackend();
    const closedInputs: FirewallManagers["closedInputs"][number][] = [];
    for (const [program, rules] of await scene.savedTables("filter")) {
      if (/^:INPUT DROP/m.test(rules)) closedInputs.push({ program, rules });
    }
    const ufw = await files.text("/etc/ufw/ufw.conf") ?? "";
    return {
      ufw: /^\s*ENABLED\s*=\s*yes/im.test(ufw) && (await isInForce(scene)),
      ufwForward: /^\s*DEFAULT_FORWARD_POLICY\s*=\s*"?(\w+)/m.exec(await files.text("/etc/default/ufw") ?? "")
        ?.[1],
      firewalld: await files.exists("/run/firewalld.pid") ||
        await files.exists("/run/firewalld/firewalld.pid"),
      zones: await readZones(files),
      closedInputs,
      ports: tunnel && isUdpTunnel(tunnel) ? tunnel.udpPorts : [],
      networks: (await scene.network()).config.families.map(({ network }) => formatPrefix(network)),
      devices: (await scene.plan()).links.map(({ name }) => name),
    };
  },
  judge(facts) {
    const findings = [...judgeUfw(facts), ...judgeFirewalld(facts), ...judgeInputs(facts)];
    return findings.length > 0 ? findings : [ok("no firewall manager, and INPUT is open")];
  },
};

/** ufw says "yes" in its file before its rules are loaded; its chains show whether they are. */
async function isInForce(scene: Scene): Promise<boolean> {
  return [...(await scene.savedTables("filter")).values()].some((text) => /^:ufw-/m.test(text));
}

function judgeUfw({ ufw, ufwForward, ports, networks }: FirewallManagers): Finding[] {
  if (!ufw) return [];
  const missing = [
    ...ports.map((port) => `ufw allow ${port}/udp comment flannel`),
    ...(ufwForward === "ACCEPT"
      ? []
      : networks.flatMap((network) => [`ufw route allow from ${network}`, `ufw route allow to ${network}`])),
  ];
  return [{
    severity: "note",
    text: "ufw is active: it must let the tunnel in and the network's packets through",
    evidence: [
      "/etc/ufw/ufw.conf: ENABLED=yes",
      `/etc/default/ufw: DEFAULT_FORWARD_POLICY=${ufwForward ?? "(not set)"}`,
    ],
    remedy: ["ufw status verbose", ...missing],
  }];
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

function judgeInputs({ closedInputs, ports, ufw }: FirewallManagers): Finding[] {
  // ufw closes INPUT itself, and has been spoken of.
  if (ufw) return [];
  return closedInputs.flatMap(({ program, rules }) => {
    const closed = ports.filter((port) => !new RegExp(`--dports? (\\S*,)?${port}\\b`).test(rules));
    return closed.map((port): Finding => ({
      severity: "warning",
      text: `INPUT of ${program} has policy DROP, and no rule names UDP port ${port}: ` +
        "the tunnel's packets may not come in",
      evidence: [`${program} -S INPUT: -P INPUT DROP`],
      remedy: [`${program} -I INPUT -p udp --dport ${port} -j ACCEPT`],
    }));
  });
}

async function readZones(files: HostFiles): Promise<string> {
  const folder = "/etc/firewalld/zones";
  const zones = (await files.names(folder)).filter((name) => name.endsWith(".xml"));
  const texts = await Promise.all(zones.map((name) => files.text(`${folder}/${name}`)));
  return texts.join("\n");
}
