/**
 * The firewall programs.
 *
 * @module
 */
import type { HostTools } from "../../firewall/tools.ts";
import { type Check, type Finding, ok } from "../types.ts";

/** Runs the programs that the daemon would run. */
export const firewallTools: Check<HostTools> = {
  name: "firewall",
  group: "firewall",
  looksAt: "which firewall programs are there and work",
  read: (scene) => scene.tools(),
  judge({ nft, iptables, problems }) {
    const tools = [...nft ? ["nft"] : [], ...iptables.map(({ backend }) => `iptables (${backend})`)];
    const findings = problems.map((text): Finding => ({ severity: "warning", text }));
    if (tools.length > 0) return [...findings, ok(tools.join(", "))];
    const text = "neither nft nor iptables works";
    return [...findings, { severity: "fault", text, remedy: ["apt-get install nftables   # or: iptables"] }];
  },
};
