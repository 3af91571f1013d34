/** What iptables.ts makes of the programs' answers, on hosts whose programs are scripted. */
import assert from "node:assert/strict";
import { IneffectiveWriteError } from "../../lib/firewall/change.ts";
import { type CommandResult, type CommandRunner } from "../../lib/firewall/command.ts";
import { Firewall } from "../../lib/firewall/firewall.ts";
import { Iptables } from "../../lib/firewall/iptables.ts";
import type { Ruleset } from "../../lib/firewall/rules.ts";
import { WriteBackoff } from "../../lib/firewall/write_backoff.ts";
import { MetricsRegistry } from "../../lib/observe/metrics.ts";
import { type Log, silentLog } from "../../lib/observe/types.ts";
import { ipv4Rules, NAMES } from "./firewall_fixtures.ts";

const RULES = ipv4Rules();

/** A bare host whose iptables-restore says what `restore` says; what it takes is in the tables then. */
function scripted(
  restore: (input: string) => Partial<CommandResult>,
): { run: CommandRunner; inputs: string[]; wipe(): void } {
  const inputs: string[] = [];
  let tables = "";
  const run: CommandRunner = (command, _args, stdin = "") => {
    const result = { code: 0, stdout: tables, stderr: "" };
    if (!command.endsWith("-restore")) return Promise.resolve(result);
    inputs.push(stdin);
    const outcome = { ...result, ...restore(stdin) };
    // Input for a bare host reads as iptables-save's output.
    if (outcome.code === 0) tables = stdin;
    return Promise.resolve(outcome);
  };
  return { run, inputs, wipe: () => tables = "" };
}

const TOOL = { variant: "", backend: "nf_tables", version: [1, 8, 9] } as const;

Deno.test("firewall iptables: a kernel without xt_comment or random ports gets rules without, and one warning", async () => {
  for (const missing of ["--random-fully", "--comment"]) {
    const warnings: string[] = [];
    const log: Log = { ...silentLog, warn: (message) => void warnings.push(message) };
    const { run, inputs, wipe } = scripted((input) =>
      input.includes(missing) ? { code: 2, stderr: "no such thing" } : {}
    );
    const iptables = new Iptables(TOOL, NAMES, run, log);
    assert.notDeepEqual(await iptables.apply(RULES, true), []);
    assert.ok(!inputs.at(-1)!.includes(missing));
    const kept = missing === "--comment" ? "--random-fully" : "--comment";
    assert.ok(inputs.at(-1)!.includes(kept), `what the host can do is kept: ${kept}`);
    const before = inputs.length;
    wipe();
    await iptables.apply(RULES, true);
    assert.equal(inputs.length, before + 1, "what was found out is remembered");
    assert.equal(warnings.length, 1);
  }
});

Deno.test("firewall iptables: a lock that others hold is an error with its cause, and no reason to do with less", async () => {
  const stderr = "Another app is currently holding the xtables lock; still 0s 0us time ahead\n";
  const { run, inputs } = scripted(() => ({ code: 4, stderr }));
  const iptables = new Iptables(TOOL, NAMES, run, silentLog);
  await assert.rejects(
    iptables.apply(RULES, true),
    /^CommandError: iptables-restore --noflush -w 5 failed with status 4: Another app/,
  );
  assert.equal(inputs.length, 1);
});

Deno.test("firewall iptables: a race with another program is tried again as it was", async () => {
  let first = true;
  const { run, inputs } = scripted(() => {
    const failed = first;
    first = false;
    return failed ? { code: 1, stderr: "RULE_DELETE failed (No such file or directory)" } : {};
  });
  const warnings: string[] = [];
  const log: Log = { ...silentLog, warn: (message) => void warnings.push(message) };
  assert.notDeepEqual(await new Iptables(TOOL, NAMES, run, log).apply(RULES, true), []);
  assert.equal(inputs[0], inputs[1]);
  assert.deepEqual(warnings, []);
});

Deno.test("firewall iptables: old versions get no options that they don't know", async () => {
  const args: string[][] = [];
  const { run: host } = scripted(() => ({}));
  const run: CommandRunner = (command, given, stdin) => {
    if (command.endsWith("-restore")) args.push([...given]);
    return host(command, given, stdin);
  };
  await new Iptables({ ...TOOL, version: [1, 4, 21] }, NAMES, run, silentLog).apply(RULES, true);
  assert.deepEqual(args, [["--noflush"]]);
});

Deno.test("firewall iptables: a write that reports success and has no effect is an error, counted, and not repeated at once", async () => {
  let writes = 0;
  const run: CommandRunner = (command) => {
    if (command.endsWith("-restore")) writes++;
    return Promise.resolve({ code: 0, stdout: "", stderr: "" });
  };
  const metrics = new MetricsRegistry();
  const iptables = new Iptables(TOOL, NAMES, run, silentLog, { metrics });
  for (let pass = 0; pass < 3; pass++) {
    await assert.rejects(iptables.apply(RULES, true), (error) => {
      assert.ok(error instanceof IneffectiveWriteError);
      assert.match(
        error.message,
        /^iptables-restore reports success and changes nothing \(IPv4: chain FLANNEL-POST/,
      );
      return true;
    });
  }
  assert.equal(writes, 1);
  assert.equal(metrics.value("flannel_firewall_ineffective_writes_total"), 1);
});

Deno.test("firewall: writes without effect are tried again after 1 s, then twice as late each time up to 10 minutes", () => {
  let now = 0;
  const backoff = new WriteBackoff({ now: () => now });
  const delays: number[] = [];
  for (let i = 0; i < 12; i++) {
    backoff.check("nft", []);
    assert.throws(() => backoff.fail("nft", [], 1), IneffectiveWriteError);
    const begin = now;
    for (;; now += 1000) {
      try {
        backoff.check("nft", []);
        break;
      } catch (error) {
        assert.ok(error instanceof IneffectiveWriteError);
      }
    }
    delays.push((now - begin) / 1000);
  }
  assert.deepEqual(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
  assert.throws(() => backoff.fail("nft", [], 1), IneffectiveWriteError);
  backoff.reset();
  backoff.check("nft", []);
});

Deno.test("firewall: what another program undoes right after a write isn't a write without effect", () => {
  let stamp = 1;
  const backoff = new WriteBackoff({ stamp: () => stamp });
  backoff.check("nft", []);
  stamp += 2;
  backoff.fail("nft", [], 1);
  backoff.check("nft", []);
  stamp++;
  assert.throws(() => backoff.fail("nft", [], 1), IneffectiveWriteError);
});

Deno.test("firewall iptables: a table that iptables can't show is not written to", async () => {
  const inputs: string[] = [];
  const run: CommandRunner = (command, args, stdin) => {
    const table = args[1]!;
    const answer = (stdout: string, code = 0) => Promise.resolve({ code, stdout, stderr: "" });
    if (command === "nft") {
      const chain = { family: "ip", table: "filter", name: "FORWARD", hook: "forward", policy: "accept" };
      return answer(JSON.stringify({ nftables: [{ chain }] }));
    }
    if (stdin !== undefined) inputs.push(stdin);
    if (table === "filter") return answer("# Table `filter' is incompatible, use 'nft' tool.\n");
    return answer(inputs.at(-1) ?? "");
  };
  const warnings: string[] = [];
  const log: Log = { ...silentLog, warn: (message) => void warnings.push(message) };
  const iptables = new Iptables(TOOL, NAMES, run, log);
  await iptables.apply(RULES, true);
  assert.deepEqual(await iptables.apply(RULES, true), []);
  assert.equal(inputs.length, 1);
  assert.doesNotMatch(inputs[0]!, /filter/);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /^iptables cannot show table ip filter, because it holds rules made with nft/);
});

// The failure was swallowed: IPv6 rules of an earlier config stayed, and nothing said so.
Deno.test("firewall iptables: rules that can't be removed from an unused family are named once and counted", async () => {
  const warnings: string[] = [];
  const log: Log = { ...silentLog, warn: (message) => void warnings.push(message) };
  let isLocked = true, restored = 0;
  const tables: Record<string, string> = {
    "iptables-save": "",
    "ip6tables-save": "*filter\n:FORWARD ACCEPT [0:0]\n:FLANNEL-FWD - [0:0]\nCOMMIT\n",
  };
  const run: CommandRunner = (command, args, stdin = "") => {
    const answer = (code: number, stdout = "", stderr = "") => Promise.resolve({ code, stdout, stderr });
    if (args[0] === "--version") {
      return command === "iptables" ? answer(0, "iptables v1.8.9 (nf_tables)") : answer(127);
    }
    if (!command.endsWith("-restore")) return command in tables ? answer(0, tables[command]) : answer(127);
    if (command.startsWith("ip6")) {
      restored++;
      if (isLocked) return answer(4, "", "Another app is currently holding the xtables lock\n");
    }
    tables[command.replace("restore", "save")] = command.startsWith("ip6") ? "" : stdin;
    return answer(0);
  };
  const metrics = new MetricsRegistry();
  using firewall = await Firewall.open({
    ...{ mode: "iptables", networkId: "/coreos.com/network", log, metrics, run },
  });
  const rules: Ruleset = { families: [RULES], fullyRandom: true };
  await firewall.apply(rules);
  await firewall.resync();
  assert.deepEqual(warnings.map((line) => line.replace(/: ip6tables.*status 4: /, ": … ")), [
    "IPv6 rules of an earlier config may be left: … Another app is currently holding the xtables lock",
  ]);
  assert.equal(restored, 2, "it is tried again");
  assert.match(metrics.render().text, /flannel_firewall_errors_total 2/);
  isLocked = false;
  await firewall.resync();
  assert.equal(tables["ip6tables-save"], "");
});
