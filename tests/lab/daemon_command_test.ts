/** The commands and the command line, as a person uses them. */
import assert from "node:assert/strict";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { leaseKey, readLeases } from "../../scripts/lab/leases.ts";
import type { StoreKind } from "../../scripts/lab/store.ts";

function command(host: Host, words: readonly string[], input?: string) {
  return host.command(words, flanneldCommand(), input);
}

/** What is on a host that concerns a network daemon. */
async function traces(host: Host): Promise<Record<string, string>> {
  const [links, routes, rules, nexthops] = await Promise.all([
    host.exec(["ip", "-o", "link", "show", "type", "vxlan"]),
    host.exec(["ip", "route"]),
    host.exec(["iptables-save"]),
    host.exec(["ip", "nexthop"]),
  ]);
  const flannel = rules.stdout.split("\n").filter((line) => /flannel/i.test(line)).join("\n");
  return { links: links.stdout, routes: routes.stdout, rules: flannel, nexthops: nexthops.stdout };
}

for (const type of ["vxlan", "host-gw"]) {
  labTest(`${type}: cleanup removes all that is ours, and says nothing wrong the second time`, {
    hosts: 2,
    config: { Network: "10.5.0.0/16", Backend: { Type: type } },
  }, async (lab) => {
    const host = lab.host(1);
    await host.ip("route add 192.0.2.0/24 via 172.30.0.254 dev eth0");
    const before = await traces(host);
    await lab.startAll({ args: ["-ip-masq"] });
    await lab.connect();
    await lab.pingAll();
    assert.notEqual((await traces(host)).rules, "", "there are firewall rules to remove");
    await host.daemon.stop();
    await host.removeContainers();
    for (const time of ["first", "second"]) {
      const { code, stderr, stdout } = await host.exec(
        [...flanneldCommand(), "cleanup", ...host.commonArgs],
        { mayFail: true },
      );
      assert.equal(code, 0, `${time} time: ${stderr}`);
      assert.doesNotMatch(stdout + stderr, /error|fail|warn/i, `${time} time`);
      assert.deepEqual(await traces(host), before);
    }
  });
}

for (const type of ["vxlan", "host-gw", "udp"]) {
  labTest(`${type}: cleanup after a reboot finds the lease without a subnet file`, {
    hosts: 2,
    config: { Network: "10.5.0.0/16", Backend: { Type: type } },
  }, async (lab) => {
    const files = await lab.startAll();
    const host = lab.host(1);
    await host.daemon.stop();
    await Deno.remove(host.folder, { recursive: true });
    await host.ip("link del flannel.1").catch(() => {});
    const { code, stderr } = await host.exec([...flanneldCommand(), "cleanup", ...host.commonArgs], {
      mayFail: true,
    });
    assert.equal(code, 0, stderr);
    assert.deepEqual([...(await readLeases(lab)).keys()], [leaseKey(files[1]!.subnets.ipv4!)]);
  });
}

labTest("cleanup with a store that doesn't answer removes the rest, and says that the lease is left", {
  hosts: 1,
}, async (lab) => {
  const host = lab.host(1);
  const before = await traces(host);
  await host.startReady();
  await host.daemon.stop();
  await lab.etcd.stop();
  const { code, stderr } = await host.exec([...flanneldCommand(), "cleanup", ...host.commonArgs], {
    mayFail: true,
  });
  assert.equal(code, 1);
  assert.match(stderr, /Cannot read the network config: .*refused.*The lease.*stays until it expires/);
  assert.deepEqual(await traces(host), before);
});

for (const store of ["etcd", "sqlite"] as const satisfies StoreKind[]) {
  labTest(`config set, get and check on ${store}`, { hosts: 1, store, config: null }, async (lab) => {
    const host = lab.host(1);
    const text = `{"network":"10.7.0.0/16","Backend":{"type":"VXLAN"}}`;
    const absent = await command(host, ["config", "get"]);
    assert.equal(absent.code, 1);
    assert.match(absent.stderr, /no network config/);
    assert.equal((await command(host, ["config", "set", "-"], text)).code, 0);
    assert.equal((await command(host, ["config", "get"])).stdout.trim(), text);
    const file = `${lab.folder}/config.json`;
    await Deno.writeTextFile(file, text);
    const checked = await command(host, ["config", "check", file]);
    assert.equal(checked.code, 0, checked.stderr);
    const complete = JSON.parse(checked.stdout);
    assert.equal(complete.SubnetLen, 24);
    assert.equal(complete.SubnetMin, "10.7.1.0");
    assert.equal(complete.Backend.Type, "vxlan");
    assert.equal(complete.Backend.VNI, 1);
    assert.match((await host.startReady()).subnets.ipv4!, /^10\.7\./);
  });
}

// The built executable said that it needs all permissions.
labTest("config check reads what a shell hands over as a file", { hosts: 1, config: null }, async (lab) => {
  const text = `{"Network":"10.7.0.0/16","Backend":{"Type":"alloc"}}`;
  for (const file of [`<(echo '${text}')`, `/dev/stdin <<<'${text}'`]) {
    const script = `"$@" config check ${file}`;
    const checked = await lab.host(1).exec(["bash", "-c", script, "sh", ...flanneldCommand()]);
    assert.equal(JSON.parse(checked.stdout).Network, "10.7.0.0/16");
  }
});

labTest(
  "a faulty config: one line for each fault, and nothing is written",
  { hosts: 1, config: null },
  async (lab) => {
    const host = lab.host(1);
    const text = `{"Network":"10.7.0.0/16","SubnetLen":17,"Backend":{"Type":"vxlan","VNI":16777216}}`;
    for (const verb of ["check", "set"]) {
      const { code, stderr } = await command(host, ["config", verb, "-"], text);
      assert.equal(code, 1);
      const lines = stderr.trim().split("\n");
      assert.equal(lines.length, 2, stderr);
      assert.match(lines.join("\n"), /SubnetLen.*17/);
      assert.match(lines.join("\n"), /VNI.*16777216/);
    }
    assert.equal((await command(host, ["config", "get"])).code, 1);
  },
);

// With the built permissions it said "off", as the file could not be opened.
labTest("doctor reads whether the host forwards packets", { hosts: 1 }, async (lab) => {
  const host = lab.host(1);
  assert.match((await command(host, ["doctor"])).stdout, /^ok +forwarding +net\.ipv4\.ip_forward is 1$/m);
  await host.sysctl({ "net/ipv4/ip_forward": "0" });
  assert.match((await command(host, ["doctor"])).stdout, /^warn +forwarding +net\.ipv4\.ip_forward is 0:/m);
});

labTest(
  "a bad option says which, what it got and what it takes, and exits 2",
  { hosts: 1, config: null },
  async (lab) => {
    const cases: readonly [option: string, message: RegExp][] = [
      ["-subnet-lease-renew-margin=1440", /subnet-lease-renew-margin.*1440/],
      ["-ip-masq=maybe", /ip-masq.*maybe/],
      ["-public-ip=300.1.1.1", /public-ip.*300\.1\.1\.1/],
      ["-no-such-option", /no-such-option/],
    ];
    for (const [option, message] of cases) {
      const { code, stderr } = await command(lab.host(1), [option]);
      assert.equal(code, 2, option);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /^\s+at /m, "no stack trace");
    }
  },
);

labTest(
  "/healthz is there at once, /readyz when the host is in the network",
  { hosts: 1, config: null },
  async (lab) => {
    const host = lab.host(1);
    const daemon = host.start();
    for (let status: number | undefined; status !== 503; status = await host.probe("/readyz")) {
      assert.ok(daemon.isRunning, daemon.log);
    }
    assert.equal(await host.probe("/healthz"), 200);
    await lab.store.writeConfig(`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}`);
    await host.waitReady();
    assert.equal(await host.probe("/readyz"), 200);
  },
);
