import assert from "node:assert/strict";
import type { FirewallMode } from "../../lib/firewall/firewall.ts";
import { ruleset } from "../../lib/firewall/rules.ts";
import { FAMILIES, type FamilyName, type PerFamily } from "../../lib/net/family.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { until } from "../../scripts/lab/process.ts";
import { FirewallHost, firewallTest, folderWith, INPUT, MODES, RULES } from "./firewall_lab.ts";

/** Who hangs on the host: a container of its own, one of another host, and somebody outside. */
const SITES = {
  pod: { ipv4: ["10.5.72.1/24", "10.5.72.2"], ipv6: ["fc00:0:0:1::1/64", "fc00:0:0:1::2"] },
  peer: { ipv4: ["10.5.9.1/24", "10.5.9.2"], ipv6: ["fc00:0:0:2::1/64", "fc00:0:0:2::2"] },
  outside: { ipv4: ["203.0.113.1/24", "203.0.113.2"], ipv6: ["2001:db8::1/64", "2001:db8::2"] },
} as const satisfies Record<string, Required<PerFamily<readonly [string, string]>>>;

type Site = keyof typeof SITES;

/** An address of outside that is excluded from masquerading. */
const EXCLUDED = { ipv4: "198.51.100.2", ipv6: "2001:db8:ffff::2" } as const;

/** A host that forwards between three namespaces, each of which notes whom it got packets from. */
class Crossing implements AsyncDisposable {
  private constructor(readonly host: FirewallHost, readonly sites: Readonly<Record<Site, FirewallHost>>) {}

  /** @param programs What firewall programs the host has. @default all of this machine's */
  static async make(programs?: readonly string[]): Promise<Crossing> {
    const path = programs && await folderWith(["ip", ...programs]);
    const host = await FirewallHost.make(path);
    const [pod, peer, outside] = await Promise.all([0, 1, 2].map(() => FirewallHost.make()));
    const crossing = new Crossing(host, { pod: pod!, peer: peer!, outside: outside! });
    try {
      await crossing.#build();
      return crossing;
    } catch (error) {
      await crossing[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #build(): Promise<void> {
    const { host, sites } = this;
    for (const namespace of [host, ...Object.values(sites)]) {
      // Link-local addresses that are being probed for can't resolve neighbours for a second.
      await namespace.exec(
        "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.dad_transmits=0",
      );
    }
    await host.exec("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    for (const [name, site] of Object.entries(sites)) await this.#connect(name as Site, site);
    for (const { name, version, bits } of FAMILIES) {
      const cidr = `${EXCLUDED[name]}/${bits}`;
      // Deprecated: outside doesn't choose it as a source.
      await sites.outside.exec(`ip address add ${cidr} dev eth0 preferred_lft 0`);
      await host.exec(`ip -${version} route add ${cidr} via ${SITES.outside[name][1]}`);
    }
  }

  async #connect(name: Site, site: FirewallHost): Promise<void> {
    await this.host.exec(`ip link add ${name} type veth peer name eth0 netns ${site.name}`);
    const end = ([gateway, address]: readonly [string, string]) => `${address}/${gateway.split("/")[1]}`;
    const { ipv4, ipv6 } = SITES[name];
    await this.host.exec(
      "ip -batch -",
      `\
address add ${ipv4[0]} dev ${name}
address add ${ipv6[0]} dev ${name} nodad
link set ${name} up
`,
    );
    await site.exec(
      "ip -batch -",
      `\
address add ${end(ipv4)} dev eth0
address add ${end(ipv6)} dev eth0 nodad
link set eth0 up
route add default via ${ipv4[0].split("/")[0]}
route add default via ${ipv6[0].split("/")[0]}
`,
    );
    await site.exec(
      "nft -f -",
      `\
table inet seen {
  set ipv4 { type ipv4_addr; flags dynamic; size 64; }
  set ipv6 { type ipv6_addr; flags dynamic; size 64; }
  chain input {
    type filter hook input priority 0; policy accept;
    icmp type echo-request add @ipv4 { ip saddr }
    icmpv6 type echo-request add @ipv6 { ip6 saddr }
  }
}
`,
    );
  }

  /** Pings from one site to an address. @returns The source that `to` saw; undefined if nothing arrived. */
  async sourceSeen(from: Site, to: Site, family: FamilyName, address?: string): Promise<string | undefined> {
    const target = this.sites[to];
    await target.exec(`nft flush set inet seen ${family}`);
    await this.sites[from].run("ping", ["-n", "-c", "1", "-W", "0.2", address ?? SITES[to][family][1]]);
    const listing = JSON.parse(await target.exec(`nft -j list set inet seen ${family}`));
    const elements = listing.nftables.find((item: { set?: unknown }) => item.set).set.elem ?? [];
    return elements.map((element: { elem?: { val: string } } | string) =>
      typeof element === "string" ? element : element.elem!.val
    )[0];
  }

  /** The same for a packet that must arrive. The first may be lost to neighbour discovery. */
  arrival(from: Site, to: Site, family: FamilyName, address?: string): Promise<string> {
    const what = `a packet from ${from} to ${address ?? to} (${family})`;
    return until(what, () => this.sourceSeen(from, to, family, address), 5000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const site of [...Object.values(this.sites), this.host]) await site[Symbol.asyncDispose]();
  }
}

const gatewayOf = (site: Site, family: FamilyName) => SITES[site][family][0].split("/")[0];
const addressOf = (site: Site, family: FamilyName) => SITES[site][family][1];

for (const mode of MODES) {
  firewallTest(`firewall ${mode}: who is masqueraded and who isn't, as packets show it`, async () => {
    await using crossing = await Crossing.make();
    using firewall = await crossing.host.firewall(mode);
    const exclude = FAMILIES.map(({ name, bits }) => parsePrefix(`${EXCLUDED[name]}/${bits}`));
    for (const { name } of FAMILIES) {
      assert.equal(
        await crossing.arrival("pod", "outside", name),
        addressOf("pod", name),
        "without rules",
      );
    }
    await firewall.apply(ruleset({ ...INPUT, exclude }));
    for (const { name } of FAMILIES) {
      const seen = (from: Site, to: Site, address?: string) => crossing.arrival(from, to, name, address);
      assert.equal(await seen("pod", "outside"), gatewayOf("outside", name), "container to outside");
      assert.equal(await seen("pod", "peer"), addressOf("pod", name), "container to container");
      assert.equal(await seen("peer", "pod"), addressOf("peer", name), "container to ours");
      assert.equal(await seen("outside", "pod"), addressOf("outside", name), "outside to our container");
      assert.equal(
        await seen("outside", "peer"),
        gatewayOf("peer", name),
        "outside to another host's container",
      );
      assert.equal(await seen("pod", "outside", EXCLUDED[name]), addressOf("pod", name), "excluded");
    }
    await firewall.remove();
    for (const { name } of FAMILIES) {
      assert.equal(await crossing.arrival("pod", "outside", name), addressOf("pod", name), "cleaned up");
    }
  });
}

/** What Docker makes of the filter table. */
function dockerRules(program: string): [command: string, input: string] {
  return [
    `${program}-restore --noflush`,
    `\
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER-FORWARD -o pod -j DOCKER
-A DOCKER-FORWARD -i pod -j ACCEPT
-A DOCKER ! -i pod -o pod -j DROP
COMMIT
`,
  ];
}

async function assertOpen(crossing: Crossing, open: boolean, when: string): Promise<void> {
  for (const { name } of FAMILIES) {
    if (!open) {
      assert.equal(
        await crossing.sourceSeen("peer", "pod", name),
        undefined,
        `${name} to our container, ${when}`,
      );
      continue;
    }
    for (const [from, to] of [["peer", "pod"], ["pod", "peer"]] as const) {
      const seen = await until(
        `${name} from ${from} to ${to}, ${when}`,
        () => crossing.sourceSeen(from, to, name),
        5000,
      );
      assert.equal(seen, addressOf(from, name));
    }
  }
}

for (const mode of MODES) {
  for (const variant of ["", "-legacy"] as const) {
    firewallTest(
      `firewall ${mode}: Docker's DROP by iptables${variant} does not cut the overlay`,
      async () => {
        await testDocker(mode, variant);
      },
    );
  }
}

firewallTest(
  "firewall nftables: Docker's DROP does not cut the overlay where only nft is at hand",
  async () => {
    await testDocker("nftables", "", ["nft"]);
  },
);

async function testDocker(
  mode: FirewallMode,
  variant: "" | "-legacy",
  available?: readonly string[],
): Promise<void> {
  await using crossing = await Crossing.make(available);
  const { host } = crossing;
  const programs = [`iptables${variant}`, `ip6tables${variant}`];
  for (const program of programs) await host.exec(...dockerRules(program));
  await assertOpen(crossing, false, "with Docker and without our rules");
  using firewall = await host.firewall(mode);
  await firewall.apply(RULES);
  await assertOpen(crossing, true, "with our rules");
  assert.equal(await firewall.resync(), false, "settled");
  for (const program of programs) {
    // Docker starts again: its jumps are first, and somebody has a drop in the chain for users.
    await host.exec(`${program} -D FORWARD -j DOCKER-USER`);
    await host.exec(`${program} -D FORWARD -j DOCKER-FORWARD`);
    await host.exec(`${program} -I FORWARD -j DOCKER-FORWARD`);
    await host.exec(`${program} -I FORWARD -j DOCKER-USER`);
    await host.exec(`${program} -I DOCKER-USER -j DROP`);
  }
  await assertOpen(crossing, false, "after the drop");
  assert.equal(await firewall.resync(), true);
  await assertOpen(crossing, true, "after a pass");
  await firewall.remove();
  await assertOpen(crossing, false, "after cleaning up");
  const left = await host.saved(`iptables${variant}-save`);
  assert.doesNotMatch(left, /FLANNEL/);
  assert.match(left, /-A DOCKER-USER -j DROP/);
}

for (const programs of [undefined, ["nft"]] as const) {
  const name = programs ? "nftables, only nft at hand" : "iptables";
  firewallTest(`firewall ${name}: what an administrator drops in DOCKER-USER stays dropped`, async () => {
    // Our accept stood first in DOCKER-USER, and let in whom the administrator keeps out.
    await using crossing = await Crossing.make(programs);
    const { host } = crossing;
    for (const { version } of FAMILIES) {
      const program = version === 6 ? "ip6tables" : "iptables";
      await host.exec(...dockerRules(program));
      await host.exec(`${program} -A DOCKER-USER -i outside -j DROP`);
      await host.exec(`${program} -A DOCKER-USER -j RETURN`);
    }
    using firewall = await host.firewall(programs ? "nftables" : "iptables");
    await firewall.apply(RULES);
    await assertOpen(crossing, true, "with our rules");
    for (const { name } of FAMILIES) {
      const when = `${name} from outside to our container`;
      assert.equal(await crossing.sourceSeen("outside", "pod", name), undefined, when);
      await host.exec(`${name === "ipv6" ? "ip6tables" : "iptables"} -D DOCKER-USER -i outside -j DROP`);
      await crossing.arrival("outside", "pod", name);
    }
  });
}

for (const mode of MODES) {
  firewallTest(`firewall ${mode}: a chain of others that drops by policy is named in a warning`, async () => {
    await using host = await FirewallHost.make();
    await host.exec(
      "nft -f -",
      "table inet site {\n chain onward { type filter hook forward priority 5; policy drop; }\n}\n",
    );
    using firewall = await host.firewall(mode);
    await firewall.apply(RULES);
    await firewall.apply(RULES);
    assert.equal(host.complaints.length, 1);
    assert.match(
      host.complaints[0]!,
      /nftables chain inet site onward drops forwarded packets by its policy/,
    );
  });
}
