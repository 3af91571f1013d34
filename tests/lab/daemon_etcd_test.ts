/** What happens to etcd and the way to it (flannel-io/flannel #2470, #1830, #913). */
import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/config/types.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { apartFromPeers, type Lab } from "../../scripts/lab/lab.ts";
import { deleteLease, putLease, readLeases, SUBNETS, vxlanValue } from "../../scripts/lab/leases.ts";
import { ping } from "../../scripts/lab/measure.ts";
import { delay, until } from "../../scripts/lab/process.ts";

/** After a cut heals, the state must be right within this time, in milliseconds. */
const HEAL_LIMIT = 10_000;

/** The MAC and public address of each peer's VTEP by its subnet, as the kernel has it. */
async function peersOf(host: Host): Promise<Record<string, string>> {
  const [routes, neighbours, fdb] = await Promise.all([
    host.routes("-4", "flannel.1"),
    host.neighbours("flannel.1"),
    host.fdb("flannel.1"),
  ]);
  const peers: Record<string, string> = {};
  for (const route of routes) {
    const [subnet] = route.split("/");
    const mac = neighbours.find((line) => line.startsWith(`${subnet} `))?.split(" ")[2];
    const remote = fdb.find((line) => line.startsWith(`${mac} dst`))?.split(" ")[2];
    peers[subnet!] = `${mac} ${remote}`;
  }
  return peers;
}

async function untilPeers(host: Host, wanted: Record<string, string>, limit: number): Promise<void> {
  await until(`peers ${JSON.stringify(wanted)}`, async () => {
    assert.deepEqual(await peersOf(host), wanted);
    return true;
  }, limit);
}

const MAC = (number: number) => `3e:4b:bc:75:ce:0${number}`;
const IP = (number: number) => `172.30.0.${100 + number}`;

/** Puts the lease of peer `number` on subnet 10.5.`number`.0, with the MAC and address of `as`. */
async function putPeer(lab: Lab, number: number, as = number): Promise<void> {
  await putLease(lab, `10.5.${number}.0-24`, vxlanValue(IP(as), MAC(as)));
}

/** CPU seconds and log lines of a daemon, to show that it doesn't spin. */
async function effort(host: Host): Promise<{ cpu: number; lines: number }> {
  const stat = await Deno.readTextFile(`/proc/${host.daemon.pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { cpu: (Number(fields[11]) + Number(fields[12])) / 100, lines: host.daemon.log.split("\n").length };
}

labTest("etcd stops and starts: traffic goes on, and what changed is followed", {
  hosts: 2,
  config: apartFromPeers(),
}, async (lab) => {
  await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  const before = await effort(lab.host(1));
  await lab.etcd.stop();
  await delay(3000);
  await lab.pingAll(0);
  const during = await effort(lab.host(1));
  assert.ok(during.cpu - before.cpu < 0.5, `${during.cpu - before.cpu} s of CPU in 3 s without etcd`);
  assert.ok(during.lines - before.lines < 15, lab.host(1).daemon.log);
  await lab.etcd.start();
  await putPeer(lab, 1);
  for (const host of lab.hosts) {
    await until("the new peer", async () => "10.5.1.0" in await peersOf(host), HEAL_LIMIT);
    assert.ok(host.daemon.isRunning);
  }
  await lab.pingAll(0);
});

/** Ends etcd, and begins with nothing but this network config. */
async function wipe(lab: Lab, config: JsonObject): Promise<void> {
  await lab.etcd.stop();
  await Deno.remove(`${lab.etcd.folder}/data`, { recursive: true });
  await lab.etcd.start();
  await lab.store.writeConfig(JSON.stringify(config));
}

// Every daemon of the network ended, "the lease was deleted", and its supervisor started it again.
labTest("etcd loses its data: the hosts write their leases again, and go on", {
  hosts: 2,
  config: apartFromPeers(),
}, async (lab) => {
  await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  const before = await readLeases(lab);
  const [one, other] = lab.containers;
  const pings = ping(one!, other!.addresses.ipv4!, { count: 400, interval: 20 });
  await wipe(lab, apartFromPeers());
  await until("the same leases", async () => {
    assert.deepEqual(await readLeases(lab), before);
    return true;
  }, HEAL_LIMIT);
  for (const host of lab.hosts) {
    assert.ok(host.daemon.isRunning, host.daemon.log);
    assert.match(host.daemon.log, /The store lost its data.*lease recreated/);
  }
  const { sent, received } = await pings;
  assert.equal(received, sent, "no packet is lost");
  // What follows is followed.
  await putPeer(lab, 1);
  for (const host of lab.hosts) {
    await until("the new peer", async () => "10.5.1.0" in await peersOf(host), HEAL_LIMIT);
  }
});

labTest(
  "etcd is replaced by one with another network: the daemon ends, and says so",
  { hosts: 1 },
  async (lab) => {
    await lab.startAll();
    // Before the config is written it would write its lease again.
    Deno.kill(lab.host(1).daemon.pid, "SIGSTOP");
    await wipe(lab, { Network: "10.6.0.0/16", Backend: { Type: "vxlan" } });
    Deno.kill(lab.host(1).daemon.pid, "SIGCONT");
    const { code } = await lab.host(1).daemon.ended();
    assert.notEqual(code, 0);
    assert.match(lab.host(1).daemon.log, /replaced by one with another network/);
  },
);

labTest("a daemon that starts before etcd waits for it", { hosts: 1 }, async (lab) => {
  await lab.etcd.stop();
  const host = lab.host(1);
  host.start();
  await delay(1500);
  assert.ok(host.daemon.isRunning, host.daemon.log);
  await lab.etcd.start();
  await host.waitReady(HEAL_LIMIT);
});

labTest("a daemon that starts before the config waits for it", { hosts: 1, config: null }, async (lab) => {
  const host = lab.host(1);
  host.start();
  await delay(1500);
  assert.ok(host.daemon.isRunning, host.daemon.log);
  await lab.store.writeConfig(`{"network":"10.6.0.0/16","backend":{"type":"VXLAN"}}`);
  assert.match((await host.waitReady(HEAL_LIMIT)).subnets.ipv4!, /^10\.6\./);
});

labTest(
  "compaction while the watch is cut: peers added, deleted and changed meanwhile are followed",
  { hosts: 1, config: apartFromPeers() },
  async (lab) => {
    for (const number of [1, 2, 3]) await putPeer(lab, number);
    const host = lab.host(1);
    await host.startReady();
    const peer = (number: number) => `${MAC(number)} ${IP(number)}`;
    await untilPeers(host, { "10.5.1.0": peer(1), "10.5.2.0": peer(2), "10.5.3.0": peer(3) }, 2000);

    const cut = (action: string) =>
      lab.switch.exec(
        ["iptables", action, "INPUT", "-s", host.addresses.ipv4!, "-p", "tcp", "-j", "REJECT"]
          .concat(["--reject-with", "tcp-reset"]),
      );
    await cut("-A");
    // The acknowledgement of the first event is what is answered with a reset.
    await putPeer(lab, 3);
    await until("the watch to be cut", () => host.daemon.count(/cannot follow the leases/) > 0, HEAL_LIMIT);
    await putPeer(lab, 4);
    await deleteLease(lab, "10.5.1.0-24");
    await putPeer(lab, 2, 5);
    const revision = /"revision":(\d+)/.exec(await lab.etcd.ctl("get", "x", "-w", "json"))![1]!;
    await lab.etcd.ctl("compact", revision);
    await delay(1000);
    assert.ok("10.5.1.0" in await peersOf(host), "while it is cut off it knows nothing of this");
    await cut("-D");

    const wanted = { "10.5.2.0": peer(5), "10.5.3.0": peer(3), "10.5.4.0": peer(4) };
    await untilPeers(host, wanted, HEAL_LIMIT);
    await putPeer(lab, 6);
    await untilPeers(host, { ...wanted, "10.5.6.0": peer(6) }, 2000);
  },
);

labTest("a peer that changes its address and MAC is followed", { hosts: 1 }, async (lab) => {
  await putPeer(lab, 1);
  const host = lab.host(1);
  await host.startReady();
  await untilPeers(host, { "10.5.1.0": `${MAC(1)} ${IP(1)}` }, 2000);
  await putPeer(lab, 1, 2);
  await untilPeers(host, { "10.5.1.0": `${MAC(2)} ${IP(2)}` }, 2000);
  await deleteLease(lab, "10.5.1.0-24");
  await untilPeers(host, {}, 2000);
  assert.deepEqual(await host.fdb("flannel.1"), [], "nothing of the old VTEP stays");
});

labTest("a reservation is taken by its host and stays one", { hosts: 1 }, async (lab) => {
  const host = lab.host(1);
  await putLease(lab, "10.5.99.0-24", `{"PublicIP":"${host.addresses.ipv4}","PublicIPv6":null}`);
  assert.equal((await host.startReady()).subnets.ipv4, "10.5.99.1/24");
  const stored = await lab.etcd.ctl("get", `${SUBNETS}10.5.99.0-24`, "-w", "json");
  assert.equal(JSON.parse(stored).kvs[0].lease, undefined, "it hangs on no etcd lease");
  assert.match((await readLeases(lab)).get("10.5.99.0-24")!, /"BackendType":"vxlan"/);
});

labTest("malformed keys and values are named once and change nothing", {
  hosts: 1,
  config: apartFromPeers(),
}, async (lab) => {
  await putPeer(lab, 1);
  const host = lab.host(1);
  await host.startReady();
  const wanted = { "10.5.1.0": `${MAC(1)} ${IP(1)}` };
  await untilPeers(host, wanted, 2000);
  const bad: readonly [key: string, value: string][] = [
    ["not-a-subnet", vxlanValue(IP(2), MAC(2))],
    ["10.5.300.0-24", vxlanValue(IP(2), MAC(2))],
    ["10.5.20.0-99", vxlanValue(IP(2), MAC(2))],
    ["10.5.21.0-24", "not JSON"],
    ["10.5.22.0-24", `{"PublicIP":"nowhere","PublicIPv6":null}`],
    ["10.5.23.0-24", `[1]`],
  ];
  for (const [key, value] of bad) await putLease(lab, key, value);
  await putPeer(lab, 2);
  await untilPeers(host, { ...wanted, "10.5.2.0": `${MAC(2)} ${IP(2)}` }, 2000);
  for (const [key] of bad) {
    assert.equal(host.daemon.count(new RegExp(key.replaceAll(".", "\\."))), 1, `${key}:\n${host.daemon.log}`);
  }
  // One that was good turns bad: the others don't notice.
  await putLease(lab, "10.5.1.0-24", "not JSON");
  await putPeer(lab, 3);
  await until("the third peer", async () => "10.5.3.0" in await peersOf(host), 2000);
  assert.ok("10.5.2.0" in await peersOf(host));
  assert.equal(host.daemon.count(/10\.5\.1\.0-24/), 1, host.daemon.log);
  await host.daemon.stop();
  await host.startReady();
  await until("the peers after a restart", async () => "10.5.3.0" in await peersOf(host), 2000);
  assert.doesNotMatch(host.daemons.map(({ log }) => log).join("\n"), /^\s+at /m, "no stack trace");
});
