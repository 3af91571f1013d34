/**
 * Which firewall programs this host has, and which of them work.
 *
 * @module
 */
import { type CommandRunner, NOT_FOUND } from "./command.ts";
import type { IptablesTool } from "./iptables.ts";

/** No program on this host can do what is asked. The message names the package to install. */
export class FirewallUnavailableError extends Error {
  override readonly name = "FirewallUnavailableError";
}

/** The firewall programs that work on this host. */
export interface HostTools {
  /** nftables' nft is there and the kernel has nf_tables. */
  readonly nft: boolean;
  /** At most one for each backend; the one that plain `iptables` stands for comes first. */
  readonly iptables: readonly IptablesTool[];
  /** What is there and doesn't work, and why. */
  readonly problems: readonly string[];
}

/** Looks at the host. Changes nothing. */
export async function detectTools(run: CommandRunner): Promise<HostTools> {
  const problems: string[] = [];
  const [nft, ...found] = await Promise.all([
    detectNft(run, problems),
    ...(["", "-nft", "-legacy"] as const).map((variant) => detectIptables(run, variant, problems)),
  ]);
  const iptables: IptablesTool[] = [];
  for (const tool of found) {
    if (tool && !iptables.some((other) => other.backend === tool.backend)) iptables.push(tool);
  }
  return { nft, iptables, problems: [...new Set(problems)] };
}

/** Whether nft is there and works. @param problems Takes what is there and doesn't work, and why. */
export async function detectNft(run: CommandRunner, problems: string[]): Promise<boolean> {
  // Also shows that the kernel has nf_tables, that we may, and that this nft speaks JSON.
  const result = await run("nft", ["-j", "list", "tables"]);
  if (result.code !== 0 && result.code !== NOT_FOUND) {
    problems.push(`nft doesn't work: ${firstLine(result.stderr)}`);
  }
  return result.code === 0;
}

async function detectIptables(
  run: CommandRunner,
  variant: IptablesTool["variant"],
  problems: string[],
): Promise<IptablesTool | undefined> {
  const name = `iptables${variant}`;
  const version = await run(name, ["--version"]);
  if (version.code === NOT_FOUND) return undefined;
  const tool = parseIptablesVersion(version.stdout, variant);
  // The tables that exist: loads no module and makes no table, but needs the kernel's side.
  const saved = await run(`${name}-save`, []);
  if (tool && saved.code === 0) return tool;
  problems.push(`${name} doesn't work: ${firstLine(saved.stderr || version.stderr)}`);
  return undefined;
}

/** Reads `iptables v1.8.9 (nf_tables)`; before 1.8 there was only legacy, and no parentheses. */
export function parseIptablesVersion(
  text: string,
  variant: IptablesTool["variant"],
): IptablesTool | undefined {
  const match = /^iptables\S* v(\d+(?:\.\d+)*)(?: \((\w+)\))?/.exec(text);
  if (!match) return undefined;
  return {
    variant,
    backend: match[2] === "nf_tables" ? "nf_tables" : "legacy",
    version: match[1]!.split(".").map(Number),
  };
}

function firstLine(text: string): string {
  return text.trim().split("\n")[0] || "no output";
}
