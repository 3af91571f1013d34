/** Several networks on the same hosts, each with a daemon of its own: none touches what is another's. */
import assert from "node:assert/strict";
import { readStatus } from "../../lib/daemon/status_client.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import type { StatusDocument } from "../../lib/status/document.ts";
import { statusSocketPath } from "../../lib/daemon/status_server.ts";
import { Daemon, flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { ping } from "../../scripts/lab/measure.ts";
import { until } from "../../scripts/lab/process.ts";
import { DUAL } from "./heal_network.ts";

/** How long a daemon may take until the network is complete. */
const START_LIMIT = 20_000;

/** One network on all hosts of the lab. */
interface Network {
  readonly name: string;
  readonly prefix: string;
  readonly config: JsonObject;
}

const DEFAULT: Network = {
  name: "default",
  prefix: "/coreos.com/network",
  config: {
    Network: "10.5.0.0/16",
    EnableIPv6: true,
    IPv6Network: "fc00:5::/48",
    Backend: { Type: "vxlan" },
  },
};
const DEFAULT_IPV4: Network = {
  ...DEFAULT,
  config: { Network: "10.5.0.0/16", Backend: { Type: "vxlan" } },
};
/** The same VNI as the default one's on another port: the kernel keeps them apart. */
const OTHER_PORT: Network = {
  name: "otherport",
  prefix: "/other/port",
  config: { Network: "10.6.0.0/16", EnableNFTables: true, Backend: { Type: "vxlan", Port: 4790 } },
};
const HOST_GW: Network = {
  name: "hostgw",
  prefix: "/third",
  config: {
    Network: "10.7.0.0/16",
    EnableIPv6: true,
    IPv6Network: "fc00:7::/48",
    Backend: { Type: "host-gw" },
  },
};

/** A network's daemon on one host, with files of its own. */
class Member {
  readonly subnetFile: string;
  readonly #args: readonly string[];
  #daemon: Daemon | undefined;

  constructor(readonly lab: Lab, readonly host: Host, readonly network: Network) {
    this.subnetFile = `${lab.folder}/${network.name}-h${host.number}/subnet.env`;
    this.#args = [...lab.store.args, `-etcd-prefix=${network.prefix}`, `-subnet-file=${this.subnetFile}`];
  }

  get daemon(): Daemon {
    return this.#daemon!;
  }

  start(): void {
    this.#daemon = new Daemon(this.host, [...this.#args, "-ip-masq", "-iptables-resync=1"]);
  }

  command(word: string) {
    return this.host.exec([...flanneldCommand(), word, ...this.#args], { mayFail: true });
  }

  /** What the daemon says of itself. @throws {Error} While it isn't there. */
  status(): Promise<StatusDocument> {
    return readStatus(statusSocketPath({ subnetFile: this.subnetFile }));
  }

  /** Waits until it is ready and knows all its peers; gives its IPv4 subnet's first address. */
  async ready(): Promise<string> {
    await until(`${this.network.name} on ${this.host.name} to be ready`, async () => {
      if (!this.daemon.isRunning) return true;
      const { ready, peers } = await this.status();
      return ready && peers?.count === this.lab.hosts.length - 1;
    }, START_LIMIT);
    assert.ok(this.daemon.isRunning, this.daemon.log);
    return /^FLANNEL_SUBNET=(.*)\.1\/24$/m.exec(await Deno.readTextFile(this.subnetFile))![1]!;
  }
}

/** Starts a network on all hosts and waits until it stands. */
async function startOn(lab: Lab, network: Network): Promise<Member[]> {
  await lab.etcd.ctl("put", `${network.prefix}/config`, JSON.stringify(network.config));
  const members = lab.hosts.map((host) => new Member(lab, host, network));
  for (const member of members) member.start();
  await Promise.all(members.map((member) => member.ready()));
  return members;
}

const DUMP = [
  "ip -d -o link",
  "ip -o address",
  "ip neigh show nud permanent",
  "bridge fdb",
  "ip -4 rule",
  "ip -6 rule",
  "ip -4 route show table all",
  "ip -6 route show table all",
  "ip nexthop",
  "nft list ruleset",
  "iptables-save",
  "ip6tables-save",
].join("; echo; ");

/** All of a host's network state but counters, timers and times; and the files of all networks. */
async function dump(lab: Lab, host: Host): Promise<string[]> {
  const { stdout } = await host.exec(["sh", "-c", DUMP]);
  const files: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(lab.folder)) {
    if (!isDirectory || !name.endsWith(`h${host.number}`)) continue;
    for await (const file of Deno.readDir(`${lab.folder}/${name}`)) {
      const path = `${lab.folder}/${name}/${file.name}`;
      files.push(file.isFile ? `${path}: ${await Deno.readTextFile(path)}` : path);
    }
  }
  const lines = stdout.split("\n").filter((line) => !line.startsWith("# ")).map((line) =>
    line.replace(/\[\d+:\d+\]|packets \d+ bytes \d+|_timer +[\d.]+/g, "").trim()
  );
  return [...lines, ...files.sort()];
}

/** Pings each other host's end of the network. */
async function pingPeers(members: readonly Member[]): Promise<void> {
  for (const from of members) {
    for (const to of members.filter((member) => member !== from)) {
      const address = `${await to.ready()}.0`;
      const { received } = await ping(from.host, address, { count: 3 });
      assert.equal(received, 3, `${from.network.name}: ${from.host.name} → ${address}`);
    }
  }
}

labTest("three networks on the same hosts; cleaning one up leaves the others as they were", {
  hosts: 2,
  families: DUAL.families,
  config: null,
}, async (lab) => {
  const dumps = () => Promise.all(lab.hosts.map((host) => dump(lab, host)));
  const hostGw = await startOn(lab, HOST_GW);
  const onlyHostGw = await dumps();
  const byDefault = await startOn(lab, DEFAULT);
  const two = await dumps();
  const otherPort = await startOn(lab, OTHER_PORT);
  const three = await dumps();

  lab.hosts.forEach((host, index) => {
    const missing = two[index]!.filter((line) => !three[index]!.includes(line));
    assert.deepEqual(missing, [], `${host.name}: the third network has changed nothing of the two`);
  });
  await Promise.all([pingPeers(byDefault), pingPeers(otherPort)]);
  assert.deepEqual(await vxlanDevices(lab.host(1)), ["fl.1.4790", "flannel-v6.1", "flannel.1"]);

  await Promise.all(otherPort.map((member) => cleanUp(member)));
  assert.deepEqual(await dumps(), two, "as before the third network came");
  await pingPeers(byDefault);
  // The default network might take the original's devices for its own: there are none but its.
  await Promise.all(byDefault.map((member) => cleanUp(member)));
  assert.deepEqual(await dumps(), onlyHostGw, "as before the default network came");
  for (const member of hostGw) {
    assert.deepEqual((await member.status()).kernel?.failures, []);
    assert.equal(member.daemon.count(/Another program changed|corrected/), 0, member.daemon.log);
  }
});

labTest("a second network with the same VNI and port is refused; the first goes on", {
  hosts: 1,
  config: null,
}, async (lab) => {
  await startOn(lab, DEFAULT_IPV4);
  const before = await dump(lab, lab.host(1));
  const same = { ...OTHER_PORT, config: { Network: "10.6.0.0/16", Backend: { Type: "vxlan" } } };
  await lab.etcd.ctl("put", `${same.prefix}/config`, JSON.stringify(same.config));
  const member = new Member(lab, lab.host(1), same);
  member.start();
  assert.notEqual((await member.daemon.ended()).code, 0);
  assert.match(member.daemon.log, /flannel\.1.*marked "flanneld \/coreos\.com\/network"/);
  assert.deepEqual(await dump(lab, lab.host(1)), before);
});

async function vxlanDevices(host: Host): Promise<string[]> {
  return (await host.ipJson("link", "show", "type", "vxlan")).map((link) => String(link.ifname)).sort();
}

/** Stops a daemon and takes all of its network away. */
async function cleanUp(member: Member): Promise<void> {
  await member.daemon.stop();
  const { code, stdout, stderr } = await member.command("cleanup");
  assert.equal(code, 0, stdout + stderr);
}
