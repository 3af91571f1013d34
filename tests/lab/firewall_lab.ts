/**
 * A network namespace with a firewall of its own, for tests of firewall rules.
 *
 * @module
 */
import { type CommandRunner, systemRunner } from "../../lib/firewall/command.ts";
import { Firewall, type FirewallMode } from "../../lib/firewall/firewall.ts";
import { type Ruleset, ruleset, type RulesetInput } from "../../lib/firewall/rules.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { type Log, silentLog } from "../../lib/observe/types.ts";
import { ownPrefix, removeNamespace } from "../../scripts/lab/leftovers.ts";
import { run as runProgram } from "../../scripts/lab/process.ts";

/** The modes, for tests that go over both. */
export const MODES: readonly FirewallMode[] = ["iptables", "nftables"];

/** Networks and subnets of the tests' default ruleset. */
export const INPUT: RulesetInput = {
  families: [
    { family: IPV4, network: parsePrefix("10.5.0.0/16") },
    { family: IPV6, network: parsePrefix("fc00::/48") },
  ],
  subnets: { ipv4: parsePrefix("10.5.72.0/24"), ipv6: parsePrefix("fc00:0:0:1::/64") },
  masquerade: true,
  forward: true,
  fullyRandom: true,
  exclude: [],
};

/** Masquerade and forward rules for both families. */
export const RULES: Ruleset = ruleset(INPUT);

/** The contract's network id: chains and tables have the original's names. */
export const NETWORK_ID = "/coreos.com/network";

/** A namespace, and what tests do with its firewall. */
export class FirewallHost implements AsyncDisposable {
  /** Programs that changed something, each as `iptables-restore` or `nft -f`. */
  readonly writes: string[] = [];
  /** Warnings and errors that firewalls on this host logged. */
  readonly complaints: string[] = [];
  readonly run: CommandRunner;
  /** While true, programs fail. */
  broken = false;
  /** How many programs have failed for that. */
  failures = 0;
  /** Folders with the programs that the host has; undefined: all of this machine. */
  readonly path: string | undefined;

  private constructor(readonly name: string, path: string | undefined) {
    this.path = path;
    const inside = systemRunner({
      prefix: ["/usr/sbin/ip", "netns", "exec", name],
      ...(path ? { path } : {}),
    });
    this.run = (command, args, stdin) => {
      if (this.broken) {
        this.failures++;
        return Promise.resolve({ code: 1, stdout: "", stderr: "broken for a test\n" });
      }
      if (stdin !== undefined) this.writes.push(command);
      return inside(command, args, stdin);
    };
  }

  /** @param path Folders with the programs that the host has. @default all of this machine's */
  static async make(path?: string): Promise<FirewallHost> {
    const name = `${ownPrefix()}${crypto.randomUUID().slice(0, 8)}-fw`;
    await runProgram(["ip", "netns", "add", name]);
    return new FirewallHost(name, path);
  }

  /** A firewall of this host. */
  firewall(mode: FirewallMode, networkId: string = NETWORK_ID): Promise<Firewall> {
    const note = (message: string) => void this.complaints.push(message);
    const log: Log = { ...silentLog, warn: note, error: note };
    return Firewall.open({ mode, networkId, log, run: this.run });
  }

  /** Runs a program of this machine inside. @throws {Error} If it fails. */
  async exec(command: string, input?: string): Promise<string> {
    const options = input === undefined ? {} : { input };
    return (await runProgram(["ip", "netns", "exec", this.name, ...command.split(" ")], options)).stdout;
  }

  /** What a -save program prints, without comments and counts. */
  async saved(program = "iptables-save"): Promise<string> {
    const text = await this.exec(program);
    return text.replace(/^#.*\n/gm, "").replace(/\[\d+:\d+\]/g, "[0:0]");
  }

  /** Everything that iptables and nftables hold of both families, as text to compare. */
  async everything(): Promise<string> {
    const [v4, v6, nft] = await Promise.all([
      this.saved(),
      this.saved("ip6tables-save"),
      this.exec("nft list ruleset"),
    ]);
    // nft's words for iptables' tables are not always the same; iptables-save has them anyway.
    const others = nft.split(/^(?=table )/m).filter((table) => !/^table ip6? (nat|filter) /.test(table));
    return [v4, v6, ...others].join("\n");
  }

  /** The lines of chain `chain`, as iptables-save prints them. */
  async chain(chain: string, program = "iptables-save"): Promise<string[]> {
    return (await this.saved(program)).split("\n").filter((line) => line.startsWith(`-A ${chain} `));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeNamespace(this.name);
    if (this.path) await Deno.remove(this.path, { recursive: true });
  }
}

/** A new folder with links to these programs of this machine: all that a host's $PATH has. */
export async function folderWith(programs: readonly string[]): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: ownPrefix() });
  for (const program of programs) {
    for (const sbin of ["/usr/sbin", "/usr/bin"]) {
      if (await Deno.stat(`${sbin}/${program}`).catch(() => undefined)) {
        await Deno.symlink(`${sbin}/${program}`, `${folder}/${program}`);
        break;
      }
    }
  }
  return folder;
}

/** Registers a test that needs a namespace; without root it is skipped. */
export function firewallTest(name: string, body: () => Promise<void>): void {
  Deno.test({ name: `${name} (needs root)`, ignore: Deno.uid() !== 0, fn: body });
}

/** What iptables-save prints of the rules in full. */
export const GOLDEN_V4 = `\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.5.72.0/24 -d 10.5.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.5.0.0/16 -d 10.5.72.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.5.0.0/16 -d 10.5.72.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.5.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.5.0.0/16 -d 10.5.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
`;
/** The same for IPv6. */
export const GOLDEN_V6 = GOLDEN_V4.replaceAll("10.5.0.0/16", "fc00::/48").replaceAll(
  "10.5.72.0/24",
  "fc00:0:0:1::/64",
)
  .replaceAll("224.0.0.0/4", "ff00::/8");

/** The names of all programs of iptables-legacy. */
export function legacyPrograms(): string[] {
  return ["", "6"].flatMap((six) => ["", "-save", "-restore"].map((what) => `ip${six}tables-legacy${what}`));
}

/** Rules of a network of its own. */
export function rulesOf(id: string) {
  const third = { [NETWORK_ID]: 5, "/second": 7, "/third": 8 }[id]!;
  return ruleset({
    ...INPUT,
    families: [{ family: IPV4, network: parsePrefix(`10.${third}.0.0/16`) }],
    subnets: { ipv4: parsePrefix(`10.${third}.1.0/24`) },
  });
}
