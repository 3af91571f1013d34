/**
 * `flanneld probe` under faults: each is made with tc, nft or ip, and has to be named.
 */
import assert from "node:assert/strict";
import type { Lab } from "../../scripts/lab/lab.ts";
import type { Namespace } from "../../scripts/lab/namespace.ts";
import { until } from "../../scripts/lab/process.ts";
import { labsAtOnce, labTest } from "./lab_test_case.ts";
import { probe, type Probed } from "./probe_lab.ts";

/** One fault in a network of two hosts, seen from h1. */
interface Fault {
  readonly name: string;
  readonly code: string;
  /** What the sentence, the evidence or the remedy has to say. */
  readonly says: RegExp;
  /** Makes the fault. @returns What takes it away. */
  readonly make: (lab: Lab) => Promise<() => Promise<unknown>>;
  /** Needs the kernel's netem. */
  readonly delays?: true;
}

/** Runs a shell command in a namespace, and another one to undo it. */
function shell(where: (lab: Lab) => Namespace, make: string, undo: string): Fault["make"] {
  return async (lab) => {
    const namespace = where(lab);
    await namespace.exec(["sh", "-ec", make]);
    return () => namespace.exec(["sh", "-ec", undo]);
  };
}

const h1 = (lab: Lab) => lab.host(1);
const h2 = (lab: Lab) => lab.host(2);
const middle = (lab: Lab) => lab.switch;

/** Rules in a table of their own at one hook; the table goes away with the fault. */
function nft(where: (lab: Lab) => Namespace, hook: string, ...rules: string[]): Fault["make"] {
  const lines = rules.map((rule) => `add rule inet fault c ${rule}`).join("\n");
  const script = `add table inet fault
add chain inet fault c { type filter hook ${hook} priority -200; }
${lines}`;
  return shell(where, `printf '%s\\n' "${script}" | nft -f -`, "nft delete table inet fault");
}

/** Rules for what the switch takes from a host's port. */
function nftOnPort(port: string, ...rules: string[]): Fault["make"] {
  const lines = rules.map((rule) => `add rule netdev fault c ${rule}`).join("\n");
  const script = `add table netdev fault
add chain netdev fault c { type filter hook ingress device ${port} priority 0; }
${lines}`;
  return shell(middle, `printf '%s\\n' "${script}" | nft -f -`, "nft delete table netdev fault");
}

const FAULTS: readonly Fault[] = [
  {
    name: "the underlay loses packets",
    code: "underlay-loss",
    says: /The underlay loses packets/,
    make: nftOnPort("p2", "numgen random mod 10 < 3 drop"),
  },
  {
    name: "only the overlay loses packets",
    code: "overlay-loss",
    says: /Only the overlay loses packets/,
    make: nft(h2, "input", "udp dport 8472 numgen random mod 10 < 3 drop"),
  },
  {
    name: "a wire that takes no large packets, and nobody says so",
    code: "mtu-black-hole",
    says: /packets over 1350 bytes vanish without an ICMP error; the path to 172\.30\.0\.2 takes 1400 bytes/,
    make: nftOnPort("p1", "meta length > 1400 drop"),
  },
  {
    name: "large packets of the tunnel alone vanish",
    code: "mtu-black-hole",
    says: /only the tunnel's large packets are lost/,
    make: nft(h2, "input", "udp dport 8472 meta length > 1300 drop"),
  },
  {
    name: "the peer's firewall drops the tunnel's port",
    code: "port-blocked",
    says:
      /UDP port 8472 is blocked: 172\.30\.0\.2 answers[\s\S]*3 UDP port 8472 packets left over eth0, 0 came/,
    make: nft(h2, "input", "udp dport 8472 drop"),
  },
  {
    name: "the peer's firewall rejects the tunnel's port",
    code: "port-rejected",
    says: /A firewall at 172\.30\.0\.2 rejects UDP port 8472/,
    make: nft(h2, "input", "udp dport 8472 reject with icmpx type admin-prohibited"),
  },
  {
    name: "the switch drops the tunnel's port on the way back",
    code: "port-blocked",
    says: /on the way there, on the way back, or on the peer/,
    make: nftOnPort("p2", "udp dport 8472 drop"),
  },
  {
    name: "this host's firewall drops what comes through the tunnel",
    code: "input-firewall",
    says: /The peer's answers reach eth0, and this host drops them/,
    make: nft(h1, "input", "udp dport 8472 drop"),
  },
  {
    name: "this host's firewall drops what leaves through the tunnel",
    code: "not-sent",
    says: /No UDP port 8472 packet leaves this host/,
    make: nft(h1, "output", "udp dport 8472 drop"),
  },
  {
    name: "this host's firewall drops what goes to the device",
    code: "output-firewall",
    says: /This host's own firewall drops what it sends to flannel\.1/,
    make: nft(h1, "output", "oifname flannel.1 drop"),
  },
  {
    name: "the peer's firewall drops echo requests alone",
    code: "icmp-filtered",
    says: /The way to the peer and back works/,
    make: nft(h2, "input", "iifname flannel.1 icmp type echo-request drop"),
  },
  {
    name: "the peer's firewall drops TCP",
    code: "tcp-silent",
    says: /Echo requests pass, TCP gets no answer[\s\S]*ethtool -K flannel\.1 tx-checksum-ip-generic off/,
    make: nft(h2, "input", "iifname flannel.1 meta l4proto tcp drop"),
  },
  {
    name: "the peer's wire is cut",
    code: "underlay-down",
    says: /Underlay down: 172\.30\.0\.2 answers no ARP or ND on eth0/,
    make: shell(middle, "ip link set p2 down", "ip link set p2 up"),
  },
  {
    name: "the peer drops everything",
    code: "underlay-down",
    says: /Underlay down: nothing comes back from 172\.30\.0\.2/,
    make: nft(h2, "input", "ip saddr 172.30.0.1 drop"),
  },
  {
    name: "the underlay is slow, and the overlay with it",
    code: "ok",
    says: /Well/,
    delays: true,
    make: shell(h2, "tc qdisc add dev eth0 root netem delay 60ms", "tc qdisc del dev eth0 root"),
  },
  {
    name: "only the overlay is slow",
    code: "overlay-slow",
    says: /The overlay takes much longer than the underlay/,
    delays: true,
    make: shell(
      h2,
      "tc qdisc add dev flannel.1 root netem delay 60ms",
      "tc qdisc del dev flannel.1 root",
    ),
  },
];

function described(probed: Probed): string {
  return probed.families.map(({ verdict }) =>
    [verdict.code, verdict.text, ...verdict.evidence, verdict.remedy].join("\n")
  ).join("\n");
}

/** So many labs share the faults: probing is mostly waiting. */
const LABS = 4;

labsAtOnce(
  "probe: each injected fault is named",
  Array.from({ length: LABS }, (_, index) => ({
    name: `faults ${index + 1} of ${LABS}`,
    options: { hosts: 2 },
    body: (lab) => nameFaults(lab, FAULTS.filter((_, at) => at % LABS === index)),
  })),
);

/** Makes the faults, one after the other, and probes. */
async function nameFaults(lab: Lab, faults: readonly Fault[]): Promise<void> {
  await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  const wrong: string[] = [];
  const netem = await h2(lab).exec(["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"], {
    mayFail: true,
  });
  for (const { name, code, says, make, delays } of faults) {
    if (delays && netem.code !== 0) {
      console.log(`not made, this kernel has no netem: ${name}`);
      continue;
    }
    const undo = await make(lab);
    // Of five packets with a loss of 30 % all may come through.
    const count = code.endsWith("-loss") ? "25" : "5";
    const probed = await probe(lab.host(1), "-count", count).finally(undo);
    const text = described(probed);
    const [family] = probed.families;
    const status = { ok: 0, warning: 3, fault: 1, unknown: 0 }[family!.verdict.severity];
    const isRight = family!.verdict.code === code && says.test(text) && probed.code === status;
    if (!isRight) wrong.push(`${name}: wanted ${code}, exit status ${probed.code}, got:\n${text}`);
    // Neighbour entries heal by themselves.
    await until("the network to be well again", async () => {
      const { families } = await probe(lab.host(1), "-count", "1");
      return families[0]!.verdict.code === "ok";
    }, 15_000);
  }
  assert.deepEqual(wrong, []);
}

labTest("probe: one way, and a peer whose device is down", { hosts: 2 }, async (lab) => {
  await lab.startAll();
  const [from] = await lab.connect();
  const [here, there] = [lab.host(1), lab.host(2)];
  const undo = await nftOnPort("p1", "udp dport 8472 drop")(lab);
  const talk = there.spawn(["ping", "-q", "-i", "0.1", from!.addresses.ipv4!]);
  const oneWay = await probe(here);
  talk.kill("SIGTERM");
  await talk.status;
  await undo();
  assert.equal(oneWay.families[0]!.verdict.code, "one-way", described(oneWay));
  await there.daemon.kill();
  await there.ip("link set flannel.1 down");
  const closed = await probe(here);
  assert.equal(closed.families[0]!.verdict.code, "port-closed", described(closed));
  assert.match(described(closed), /Nothing takes UDP port 8472 on 172\.30\.0\.2/);
});

// A switch floods what it has no port for: a third host's packets were taken for the silent peer's.
labTest("probe: a host whose wire is down while others send to it", { hosts: 3 }, async (lab) => {
  await lab.startAll();
  const [, gone] = await lab.connect();
  const [here, silent, other] = [lab.host(1), lab.host(2), lab.host(3)];
  const send = ["ping", "-q", "-i", "0.05", gone!.addresses.ipv4!];
  const talk = other.spawn(send);
  await silent.ip("link set eth0 down");
  const probed = await probe(here, silent.addresses.ipv4!);
  talk.kill("SIGTERM");
  await talk.status;
  assert.equal(probed.families[0]!.verdict.code, "underlay-down", described(probed));
});

labTest("probe: without a daemon, entries that the kernel lacks are named", { hosts: 2 }, async (lab) => {
  await lab.startAll();
  const here = lab.host(1);
  await here.daemon.kill();
  const well = await probe(here);
  assert.match(well.json.source, /^etcd /);
  assert.equal(well.families[0]!.verdict.code, "ok", described(well));
  const [route] = await here.routes("-4", "flannel.1");
  const [neighbour] = await here.neighbours("flannel.1");
  const [subnet, gateway] = [route!.split(" ")[0]!, neighbour!.split(" ")[0]!];
  const mac = /lladdr (\S+)/.exec(neighbour!)![1]!;
  const steps = [
    ["bridge", `fdb del ${mac} dev flannel.1`, "no-fdb-entry"],
    ["ip", `neigh del ${gateway} dev flannel.1`, "no-neighbour"],
    ["ip", `route del ${subnet} dev flannel.1`, "no-route"],
    ["ip", "link set flannel.1 down", "no-route"],
  ] as const;
  for (const [program, words, code] of steps) {
    await here.exec([program, ...words.split(" ")]);
    const probed = await probe(here);
    assert.equal(probed.families[0]!.verdict.code, code, `${words}: ${described(probed)}`);
  }
});
