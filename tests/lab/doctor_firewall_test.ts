/** `doctor`: firewalls that keep the tunnel out, as ufw, iptables and nftables make them, and those that let it in. */
import assert from "node:assert/strict";
import type { Host } from "../../scripts/lab/host.ts";
import { assertFound, examine, type Examined } from "./doctor_lab.ts";
import { labTest } from "./lab_test_case.ts";

/** The lines about the tunnel's way in. */
function managers({ all }: Examined): string {
  return all.filter(({ check }) => check === "managers").map(({ severity, text }) => `${severity}: ${text}`)
    .join("\n");
}

/** Loads what iptables-save prints where ufw 0.36 is active with its defaults, and these rules of its user. */
async function loadUfw(host: Host, userRules: readonly string[]): Promise<void> {
  const kinds = ["before", "after", "reject", "track", "user"];
  const hooks = ["input", "forward"];
  const rules = [
    "*filter",
    ":INPUT DROP [0:0]",
    ":FORWARD DROP [0:0]",
    ":OUTPUT ACCEPT [0:0]",
    ...hooks.flatMap((hook) => kinds.map((kind) => `:ufw-${kind}-${hook} - [0:0]`)),
    ...[":ufw-not-local - [0:0]", ":ufw-logging-deny - [0:0]", ":ufw-skip-to-policy-input - [0:0]"],
    ...hooks.flatMap((hook) =>
      kinds.slice(0, 4).map((kind) => `-A ${hook.toUpperCase()} -j ufw-${kind}-${hook}`)
    ),
    "-A ufw-before-input -i lo -j ACCEPT",
    "-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A ufw-before-input -m conntrack --ctstate INVALID -j ufw-logging-deny",
    "-A ufw-before-input -m conntrack --ctstate INVALID -j DROP",
    "-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT",
    "-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT",
    "-A ufw-before-input -j ufw-not-local",
    "-A ufw-before-input -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT",
    "-A ufw-before-input -j ufw-user-input",
    "-A ufw-before-forward -j ufw-user-forward",
    "-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN",
    "-A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny",
    "-A ufw-not-local -j DROP",
    "-A ufw-after-input -p udp -m udp --dport 137 -j ufw-skip-to-policy-input",
    "-A ufw-skip-to-policy-input -j DROP",
    ...userRules,
    "COMMIT",
  ];
  await host.exec(["iptables-restore"], { input: `${rules.join("\n")}\n` });
}

labTest("doctor: ufw keeps the tunnel out until a rule lets it in, and then no more is said of it", {
  hosts: 2,
}, async (lab) => {
  const [host, peer] = [lab.host(1), lab.host(2)];
  await Promise.all([host.startReady(), peer.startReady()]);
  await loadUfw(host, ["-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT"]);
  const closed = await examine(host);
  assertFound(closed, [
    /^warning managers: INPUT of iptables drops the tunnel's packets of 1 peer \(UDP port 8472\): ufw is active/,
  ]);
  const { remedy, evidence } = closed.all.find(({ check }) => check === "managers")!;
  assert.deepEqual(remedy, ["ufw allow 8472/udp comment flannel"]);
  assert.deepEqual(evidence, ["iptables -S: -P INPUT DROP", `from ${peer.addresses.ipv4}`]);
  assert.equal(closed.code, 3);

  await loadUfw(host, ["-A ufw-user-input -p udp -m udp --dport 8472 -j ACCEPT"]);
  assert.equal(managers(await examine(host)), "ok: ufw is active and lets the tunnel in");
});

labTest("doctor: rules of iptables and nftables that drop the tunnel's packets whatever the policy is", {
  hosts: 2,
}, async (lab) => {
  const host = lab.host(1);
  await Promise.all(lab.hosts.map((one) => one.startReady()));
  await host.exec([
    "sh",
    "-ec",
    `iptables -A INPUT -i eth0 -p udp --dport 8472 -j DROP
     nft -f - <<'END'
     table inet filter {
       chain input {
         type filter hook input priority 0; policy drop
         ct state vmap { established : accept, related : accept, invalid : drop }
         iifname "lo" accept
         tcp dport { 22, 8400-8500 } accept
         ip saddr 192.0.2.0/24 accept
         meta l4proto { icmp, ipv6-icmp } accept
       }
     }
END`,
  ]);
  assertFound(await examine(host), [
    /^warning managers: INPUT of iptables drops the tunnel's packets of 1 peer \(UDP port 8472\)$/,
    /^warning managers: nftables chain inet filter input drops the tunnel's packets of 1 peer \(UDP port 8472\)$/,
  ]);
  // What the remedy says helps.
  const { all } = await examine(host);
  const commands = all.filter(({ check }) => check === "managers").flatMap(({ remedy }) => remedy);
  await host.exec(["sh", "-ec", commands.join("\n")]);
  assert.equal(managers(await examine(host)), "ok: no firewall keeps the tunnel out");
});
