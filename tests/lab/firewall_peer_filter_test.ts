import assert from "node:assert/strict";
import { FirewallUnavailableError } from "../../lib/firewall/tools.ts";
import { FirewallHost, firewallTest, folderWith } from "./firewall_lab.ts";
import { addresses, filterOn, OTHERS } from "./firewall_tunnel.ts";

firewallTest("peer filter: 20,000 peers, and changes cost what they change", async () => {
  await using host = await FirewallHost.make();
  const scripts: number[] = [];
  using filter = await filterOn(host, {
    run: (command, args, stdin) => {
      if (stdin !== undefined) scripts.push(stdin.length);
      return host.run(command, args, stdin);
    },
  });
  const all = addresses(20_000);
  const listed = async () => {
    const listing = JSON.parse(await host.exec("nft -j list table inet flannel-peers"));
    return listing.nftables.reduce(
      (sum: number, { set }: { set?: { name: string; elem?: unknown[] } }) =>
        sum + (set?.name.startsWith("peers") ? set.elem?.length ?? 0 : 0),
      0,
    );
  };
  await filter.setPeers({ addresses: all });
  assert.equal(await listed(), 20_000);
  scripts.length = 0;
  await filter.setPeers({ addresses: all.slice(1) });
  assert.ok(scripts.length === 1 && scripts[0]! < 100, "one peer less is one line");
  await filter.setPeers({ addresses: all.slice(1) });
  assert.equal(scripts.length, 1, "nothing changed, nothing written");
  // Many at once: what comes while one is under way is put together.
  await Promise.all(all.slice(0, 1000).map((_, i) => filter.setPeers({ addresses: all.slice(i) })));
  assert.ok(scripts.length <= 3, `${scripts.length} writes for 1000 calls`);
  assert.equal(await listed(), 20_000 - 999);
});

firewallTest("peer filter: whatever is done to it is undone by the next pass", async () => {
  await using host = await FirewallHost.make();
  await host.exec("nft -f -", "table inet other {\n}\n");
  using filter = await filterOn(host);
  await filter.setPeers({ addresses: addresses(4) });
  const right = await host.exec("nft list table inet flannel-peers");
  const damages = [
    "nft delete table inet flannel-peers",
    "nft flush chain inet flannel-peers input",
    "nft insert rule inet flannel-peers input accept",
    "nft flush ruleset",
    "nft add element inet flannel-peers peers4 { 192.0.2.1 }",
    "nft flush set inet flannel-peers peers6",
    'nft add element inet flannel-peers peers4 { 192.0.2.1 comment "mine" }',
    "nft flush chain inet flannel-peers forward",
    "nft chain inet flannel-peers input { policy drop ; }",
  ];
  for (const damage of damages) {
    await host.exec(damage);
    assert.equal(await filter.resync(), true, damage);
    assert.equal(await host.exec("nft list table inet flannel-peers"), right, damage);
    assert.equal(await filter.resync(), false, damage);
  }
  // A change that meets a table that somebody took away.
  await host.exec("nft delete table inet flannel-peers");
  await filter.setPeers({ addresses: addresses(4).slice(1) });
  assert.equal(await filter.resync(), false);
  await filter.setPeers({ addresses: addresses(4) });
  assert.equal(await host.exec("nft list table inet flannel-peers"), right);
});

firewallTest("peer filter: two networks on one host have tables of their own", async () => {
  await using host = await FirewallHost.make();
  using first = await filterOn(host);
  using second = await filterOn(host, { networkId: "/second", tunnel: { udpPorts: [8472], vni: OTHERS } });
  await first.setPeers({ addresses: addresses(2) });
  await second.setPeers({ addresses: addresses(3) });
  await second.remove();
  assert.equal(await first.resync(), false);
  assert.equal((await host.exec("nft list tables")).trim(), "table inet flannel-peers");
});

firewallTest("peer filter: without nft it says which package to install", async () => {
  await using host = await FirewallHost.make(await folderWith([]));
  await assert.rejects(filterOn(host), (error) => {
    assert.ok(error instanceof FirewallUnavailableError);
    assert.match(
      error.message,
      /^PeerFilter needs nftables: nft isn't installed. Install Debian's package nftables/,
    );
    return true;
  });
  await assert.rejects(filterOn(host, { tunnel: { udpPorts: [0] } }), /port must be 1 to 65535: got 0/);
});
