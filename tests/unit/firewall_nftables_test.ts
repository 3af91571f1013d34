import assert from "node:assert/strict";
import type { CommandResult, CommandRunner } from "../../lib/firewall/command.ts";
import { firewallNames } from "../../lib/firewall/names.ts";
import { Nftables } from "../../lib/firewall/nftables.ts";
import { planFilterTable } from "../../lib/firewall/nftables_filter_table.ts";
import { tableHolds, tableScript } from "../../lib/firewall/nftables_text.ts";
import { ruleset } from "../../lib/firewall/rules.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { type Log, silentLog } from "../../lib/observe/types.ts";

const RULES = ruleset({
  families: [
    { family: IPV4, network: parsePrefix("10.5.0.0/16") },
    { family: IPV6, network: parsePrefix("fc00::/48") },
  ],
  subnets: { ipv4: parsePrefix("10.5.72.0/24"), ipv6: parsePrefix("fc00:0:0:1::/64") },
  masquerade: true,
  forward: true,
  fullyRandom: true,
  exclude: [],
});
const [V4, V6] = [RULES.families[0]!, RULES.families[1]!];

const GOLDEN_V6 = `\
add table ip6 flannel-ipv6
delete table ip6 flannel-ipv6
add table ip6 flannel-ipv6
add chain ip6 flannel-ipv6 postrtg { type nat hook postrouting priority srcnat; policy accept; }
add rule ip6 flannel-ipv6 postrtg meta mark & 0x4000 == 0x4000 return comment "flanneld masq"
add rule ip6 flannel-ipv6 postrtg ip6 saddr fc00:0:0:1::/64 ip6 daddr fc00::/48 return comment "flanneld masq"
add rule ip6 flannel-ipv6 postrtg ip6 saddr fc00::/48 ip6 daddr fc00:0:0:1::/64 return comment "flanneld masq"
add rule ip6 flannel-ipv6 postrtg ip6 saddr != fc00::/48 ip6 daddr fc00:0:0:1::/64 return comment "flanneld masq"
add rule ip6 flannel-ipv6 postrtg ip6 saddr fc00::/48 ip6 daddr != ff00::/8 masquerade fully-random comment "flanneld masq"
add rule ip6 flannel-ipv6 postrtg ip6 saddr != fc00::/48 ip6 daddr fc00::/48 masquerade fully-random comment "flanneld masq"
add chain ip6 flannel-ipv6 forward { type filter hook forward priority filter; policy accept; }
add rule ip6 flannel-ipv6 forward ip6 saddr fc00::/48 accept comment "flanneld forward"
add rule ip6 flannel-ipv6 forward ip6 daddr fc00::/48 accept comment "flanneld forward"
`;

Deno.test("firewall nftables: the table is one transaction that replaces what stands there", () => {
  assert.equal(tableScript("flannel-ipv6", V6, true), GOLDEN_V6);
  assert.equal(
    tableScript("flannel-ipv4", { family: IPV4 }, true),
    "add table ip flannel-ipv4\ndelete table ip flannel-ipv4\n",
  );
  assert.ok(!tableScript("flannel-ipv4", V4, false).includes("fully-random"));
});

/** An expression as nft prints it. */
const match = (field: string, addr: string, len: number, op = "==") => ({
  match: {
    op,
    left: { payload: { protocol: "ip", field } },
    right: len === 32 ? addr : { prefix: { addr, len } },
  },
});

const BASE = { family: "ip", table: "flannel-ipv4" };

/** What nft 1.0.6 prints of the forward chain's table, with `change` done to it. */
function listing(change: (items: Record<string, Record<string, unknown>>[]) => void = () => {}): string {
  const rule = (handle: number, expr: unknown[]) => ({
    rule: { ...BASE, chain: "forward", handle, comment: "flanneld forward", expr },
  });
  const items: Record<string, Record<string, unknown>>[] = [
    { metainfo: { version: "1.0.6", release_name: "Lester Gooch #5", json_schema_version: 1 } },
    { table: { family: "ip", name: "flannel-ipv4", handle: 1 } },
    {
      chain: {
        ...BASE,
        name: "forward",
        handle: 2,
        type: "filter",
        hook: "forward",
        prio: 0,
        policy: "accept",
      },
    },
    rule(3, [match("saddr", "10.5.0.0", 16), { accept: null }]),
    rule(4, [match("daddr", "10.5.0.0", 16), { accept: null }]),
  ];
  change(items);
  return JSON.stringify({ nftables: items });
}

Deno.test("firewall nftables: a table that is right is known as such", () => {
  const forward = { family: IPV4, forward: V4.forward! };
  assert.equal(tableHolds(listing(), forward, true), true);
  assert.equal(tableHolds(undefined, forward, true), false);
  assert.equal(tableHolds(undefined, { family: IPV4 }, true), true);
  assert.equal(tableHolds(listing(), { family: IPV4 }, true), false);
  assert.equal(tableHolds(listing(), V4, true), false, "the masquerade chain is missing");
});

Deno.test("firewall nftables: whatever is done to the table is seen", () => {
  const expr = (items: Record<string, Record<string, unknown>>[], at = 3) =>
    items[at]!.rule!.expr as unknown[];
  const changes: Record<string, Parameters<typeof listing>[0]> = {
    "a rule deleted": (items) => void items.pop(),
    "rules swapped": (items) => void items.push(items.splice(3, 1)[0]!),
    "a rule doubled": (items) => void items.push(items[4]!),
    "a rule of someone else": (items) =>
      void items.push({ rule: { ...BASE, chain: "forward", expr: [{ drop: null }] } }),
    "another action": (items) => void expr(items).splice(1, 1, { drop: null }),
    "another address": (items) => void expr(items).splice(0, 1, match("saddr", "10.6.0.0", 16)),
    "another length": (items) => void expr(items).splice(0, 1, match("saddr", "10.5.0.0", 17)),
    "a single address": (items) => void expr(items).splice(0, 1, match("saddr", "10.5.0.0", 32)),
    "negated": (items) => void expr(items).splice(0, 1, match("saddr", "10.5.0.0", 16, "!=")),
    "the other direction": (items) => void expr(items).splice(0, 1, match("daddr", "10.5.0.0", 16)),
    "a condition more": (items) => void expr(items).unshift(match("saddr", "10.5.1.0", 24)),
    "a condition less": (items) => void expr(items).shift(),
    "a limit": (items) => void expr(items).unshift({ limit: { rate: 1, per: "second" } }),
    "an action before": (items) => void expr(items).unshift({ return: null }),
    "another comment": (items) => void (items[3]!.rule!.comment = "mine"),
    "another priority": (items) => void (items[2]!.chain!.prio = 10),
    "another policy": (items) => void (items[2]!.chain!.policy = "drop"),
    "a chain more": (items) => void items.push({ chain: { ...BASE, name: "extra", handle: 9 } }),
    "a set": (items) => void items.push({ set: { ...BASE, name: "s", type: "ipv4_addr" } }),
    "switched off": (items) => void (items[1]!.table!.flags = "dormant"),
  };
  const forward = { family: IPV4, forward: V4.forward! };
  for (const [name, change] of Object.entries(changes)) {
    assert.equal(tableHolds(listing(change), forward, true), false, name);
  }
});

Deno.test("firewall nftables: masquerade flags are read in each of nft's spellings", () => {
  const source = V4.masquerade![4]!;
  const chain = { ...BASE, name: "postrtg", type: "nat", hook: "postrouting", prio: 100, policy: "accept" };
  const print = (masquerade: unknown) =>
    JSON.stringify({
      nftables: [{ table: { family: "ip", name: "flannel-ipv4" } }, { chain }, {
        rule: {
          ...BASE,
          chain: "postrtg",
          comment: "flanneld masq",
          expr: [match("saddr", "10.5.0.0", 16), match("daddr", "224.0.0.0", 4, "!="), { masquerade }],
        },
      }],
    });
  const rules = { family: IPV4, masquerade: [source] };
  assert.equal(tableHolds(print({ flags: "fully-random" }), rules, true), true);
  assert.equal(tableHolds(print({ flags: ["fully-random"] }), rules, true), true);
  assert.equal(tableHolds(print(null), rules, true), false);
  assert.equal(tableHolds(print(null), rules, false), true);
  assert.equal(tableHolds(print({ flags: ["random", "persistent"] }), rules, true), false);
});

/** What nft prints, with -j, of a table that `script` has written. */
function printed(script: string, family: string, table: string): string {
  const nftables: unknown[] = [{ table: { family, name: table } }];
  for (const line of script.split("\n")) {
    const [verb, kind, inFamily, inTable, chain, ...rest] = line.split(" ");
    if (verb !== "add" || inFamily !== family || inTable !== table) continue;
    if (kind === "chain") {
      const [type, hook, priority] = [rest[2], rest[4], rest[6]];
      const prio = priority === "srcnat;" ? 100 : 0;
      nftables.push({ chain: { family, table, name: chain, type, hook, prio, policy: "accept" } });
    } else if (kind === "rule") {
      nftables.push({ rule: { family, table, chain, ...printedRule(family, rest.join(" ")) } });
    }
  }
  return JSON.stringify({ nftables });
}

function printedRule(family: string, text: string): { comment: string; expr: unknown[] } {
  const expr: unknown[] = [];
  if (text.includes("meta mark")) {
    expr.push({ match: { op: "==", left: { "&": [{ meta: { key: "mark" } }, 0x4000] }, right: 0x4000 } });
  }
  for (const [, field, not, addr, len] of text.matchAll(/ip6? ([sd]addr) (!= )?(\S+)\/(\d+)/g)) {
    const left = { payload: { protocol: family, field } };
    expr.push({ match: { op: not ? "!=" : "==", left, right: { prefix: { addr, len: Number(len) } } } });
  }
  const random = text.includes("fully-random") ? { flags: "fully-random" } : null;
  const action = / (accept|return|masquerade)/.exec(` ${text}`)![1]!;
  expr.push({ [action]: action === "masquerade" ? random : null });
  return { comment: /comment "(.*)"/.exec(text)![1]!, expr };
}

/** An nft that has no tables and takes what `accept` says. */
function scripted(
  accept: (script: string) => boolean,
): { run: CommandRunner; scripts: string[]; wipe(): void } {
  const scripts: string[] = [];
  let held = "";
  const run: CommandRunner = (_command, args, stdin = "") => {
    const gone: CommandResult = { code: 1, stdout: "", stderr: "Error: No such file or directory\n" };
    if (args.includes("list")) {
      const [family, table] = args.slice(-2) as [string, string];
      const isThere = held.includes(`add chain ${family} ${table} `);
      return Promise.resolve(isThere ? { code: 0, stdout: printed(held, family, table), stderr: "" } : gone);
    }
    scripts.push(stdin);
    const failed: CommandResult = {
      code: 1,
      stdout: "",
      stderr: "Error: Could not process rule: not supported\n",
    };
    if (!accept(stdin)) return Promise.resolve(failed);
    held = stdin;
    return Promise.resolve({ code: 0, stdout: "", stderr: "" });
  };
  return { run, scripts, wipe: () => held = "" };
}

const NAMES = firewallNames("/coreos.com/network");

Deno.test("firewall nftables: both families go in by one transaction", async () => {
  const { run, scripts } = scripted(() => true);
  const changes = await new Nftables(NAMES, run, silentLog).apply(RULES);
  assert.deepEqual(changes.map(({ what, isRepair }) => [what, isRepair]), [
    ["IPv4: table ip flannel-ipv4 missing", false],
    ["IPv6: table ip6 flannel-ipv6 missing", false],
  ]);
  assert.equal(scripts.length, 1);
  assert.ok(scripts[0]!.includes("flannel-ipv4") && scripts[0]!.endsWith(GOLDEN_V6));
});

Deno.test("firewall nftables: one family's refusal doesn't keep the rules from the other", async () => {
  const done: string[] = [];
  const { run } = scripted((script) => {
    if (script.includes("ip6")) return false;
    done.push(script);
    return true;
  });
  await assert.rejects(new Nftables(NAMES, run, silentLog).apply(RULES), /nft -f - failed with status 1/);
  assert.ok(done.some((script) => script.includes("flannel-ipv4")));
});

Deno.test("firewall nftables: a kernel without random ports gets rules without, and one warning", async () => {
  const warnings: string[] = [];
  const log: Log = { ...silentLog, warn: (message) => void warnings.push(message) };
  const { run, scripts, wipe } = scripted((script) => !script.includes("fully-random"));
  const nft = new Nftables(NAMES, run, log);
  await nft.apply(RULES);
  wipe();
  const changes = await nft.apply(RULES);
  assert.ok(changes.length === 2 && changes.every(({ isRepair }) => isRepair));
  assert.equal(scripts.length, 3, "what was found out is remembered");
  assert.equal(warnings.length, 1);
});

Deno.test("firewall nftables: an nft that fails otherwise is an error, not a missing table", async () => {
  const run: CommandRunner = () =>
    Promise.resolve({ code: 1, stdout: "", stderr: "Operation not permitted (you must be root)\n" });
  await assert.rejects(new Nftables(NAMES, run, silentLog).apply(RULES), /Operation not permitted/);
});

/** iptables' filter table, as nft shows its place. */
const FILTER = { family: "ip", table: "filter" };

/** What nft prints of a filter table whose FORWARD has this policy, with more objects in it. */
const print = (policy: string, ...more: unknown[]) =>
  JSON.stringify({
    nftables: [
      { table: { family: "ip", name: "filter", handle: 1 } },
      { chain: { ...FILTER, name: "FORWARD", handle: 2, type: "filter", hook: "forward", prio: 0, policy } },
      ...more,
    ],
  });

const rule = (chain: string, handle: number, ...expr: unknown[]) => ({
  rule: { ...FILTER, chain, handle, expr },
});
const chain = (name: string) => ({ chain: { ...FILTER, name, handle: 3 } });

const COUNTER = { counter: { packets: 1, bytes: 60 } };
const JUMP = { jump: { target: "FLANNEL-FWD" } };

/** The lines that are written. */
const plan = (listing: string | undefined) =>
  planFilterTable(listing, IPV4, V4.forward!, "FLANNEL-FWD")
    .flatMap(({ lines }) => lines.map((line) => `${line}\n`)).join("");

/** Our chain and the jump to it, as they are to be. */
const RIGHT = [
  chain("FLANNEL-FWD"),
  rule("FLANNEL-FWD", 10, match("saddr", "10.5.0.0", 16), { xt: null }, COUNTER, { accept: null }),
  rule("FLANNEL-FWD", 11, match("daddr", "10.5.0.0", 16), COUNTER, { accept: null }),
  rule("FORWARD", 12, COUNTER, JUMP),
];

Deno.test("firewall nftables: iptables' filter table gets our rules only where it may cut containers off", () => {
  assert.equal(plan(undefined), "");
  assert.equal(plan(print("accept")), "");
  const filling = `\
add chain ip filter FLANNEL-FWD
flush chain ip filter FLANNEL-FWD
add rule ip filter FLANNEL-FWD ip saddr 10.5.0.0/16 counter accept
add rule ip filter FLANNEL-FWD ip daddr 10.5.0.0/16 counter accept
`;
  assert.equal(plan(print("drop")), `${filling}add rule ip filter FORWARD counter jump FLANNEL-FWD\n`);
  assert.equal(plan(print("drop", ...RIGHT)), "");
  assert.equal(plan(print("drop", RIGHT[0], RIGHT[2], RIGHT[1], RIGHT[3])), filling, "out of order");
  assert.equal(
    plan(print("drop", ...RIGHT, rule("FORWARD", 13, COUNTER, JUMP))),
    "delete rule ip filter FORWARD handle 12\ndelete rule ip filter FORWARD handle 13\n" +
      "add rule ip filter FORWARD counter jump FLANNEL-FWD\n",
  );
  const removal = "delete rule ip filter FORWARD handle 12\nflush chain ip filter FLANNEL-FWD\n" +
    "delete chain ip filter FLANNEL-FWD\n";
  assert.equal(plan(print("accept", ...RIGHT)), removal, "nobody drops any more");
  const switchedOff = planFilterTable(print("drop", ...RIGHT), IPV4, undefined, "FLANNEL-FWD");
  assert.deepEqual(switchedOff.flatMap(({ lines }) => lines), removal.trim().split("\n"));
});

// An accept before an administrator's drop in DOCKER-USER let in whom it was to keep out.
Deno.test("firewall nftables: in DOCKER-USER our jump comes after the administrator's rules", () => {
  const docker = (...rules: unknown[]) => plan(print("drop", ...RIGHT, chain("DOCKER-USER"), ...rules));
  const inserted = (handle: number) =>
    `insert rule ip filter DOCKER-USER handle ${handle} counter jump FLANNEL-FWD\n`;
  const dropOutsider = rule("DOCKER-USER", 20, match("saddr", "203.0.113.0", 24), COUNTER, { drop: null });
  const dropBySet = rule("DOCKER-USER", 21, { xt: null }, COUNTER, { drop: null });
  const end = rule("DOCKER-USER", 30, COUNTER, { return: null });
  const ours = rule("DOCKER-USER", 25, COUNTER, JUMP);
  const others = rule("DOCKER-USER", 26, COUNTER, { jump: { target: "FLANNEL-FWD-0123abcd" } });
  assert.equal(docker(rule("DOCKER-USER", 20, { drop: null })), inserted(20));
  assert.equal(docker(dropOutsider, dropBySet, end), inserted(30));
  assert.equal(docker(dropOutsider, ours, end), "");
  assert.equal(docker(dropOutsider, ours, others, end), "");
  assert.equal(docker(others, ours, end), "");
  assert.equal(
    docker(ours, dropBySet, end),
    `delete rule ip filter DOCKER-USER handle 25\n${inserted(30)}`,
  );
  const added = "add rule ip filter DOCKER-USER counter jump FLANNEL-FWD\n";
  assert.equal(docker(dropOutsider), added);
  assert.equal(docker(dropBySet), added, "a match that nft has no name for");
  assert.equal(docker(rule("DOCKER-USER", 31, { xt: null }, COUNTER, { return: null })), inserted(31));
});
