/** The udp backend inside the daemon with IPv6 alone and with both families. */
import assert from "node:assert/strict";
import type { FamilyName } from "../../lib/net/family.ts";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { apartFromPeers, type Lab, networkConfig } from "../../scripts/lab/lab.ts";
import { ping } from "../../scripts/lab/measure.ts";
import { until } from "../../scripts/lab/process.ts";
import { addressOf, FAMILY_SETS, IP_OPTION } from "./heal_network.ts";
import { labTest } from "./lab_test_case.ts";

const UDP = { Type: "udp" };
const WITH_IPV6 = FAMILY_SETS.filter(({ families }) => families.includes("ipv6"));
const DUAL: readonly FamilyName[] = ["ipv4", "ipv6"];

/** Values of all leases. */
async function leaseValues(lab: Lab): Promise<string[]> {
  const folder = "/coreos.com/network/subnets";
  const text = await lab.etcd.ctl("get", "--prefix", folder, "--print-value-only");
  return text.split("\n").filter((line) => line !== "");
}

/** The addresses on the TUN, like `fc00:0:0:7::/128`. */
async function tunAddresses(host: Host): Promise<string[]> {
  const [link] = await host.ipJson("address", "show", "flannel0");
  const addresses = link!["addr_info"] as { local: string; prefixlen: number }[];
  return addresses.map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}

for (const { name, families } of WITH_IPV6) {
  labTest(`udp, ${name}: device, MTU, addresses, routes and leases`, {
    families,
    config: networkConfig(families, UDP),
  }, async (lab) => {
    const files = await lab.startAll();
    await lab.connect();
    await lab.pingAll();
    const host = lab.host(1);
    assert.match(files[0]!.text, /^FLANNEL_MTU=1452$/m, "of two families the smaller one");
    const subnets = families.map((family) => files[0]!.subnets[family]!);
    const wanted = subnets.map((subnet) => subnet.replace(".1/24", ".0/32").replace("::1/64", "::/128"));
    assert.deepEqual(await tunAddresses(host), wanted);
    const networks = { ipv4: "10.5.0.0/16", ipv6: "fc00::/48" };
    for (const family of families) {
      const routes = await host.routes(IP_OPTION[family], "flannel0");
      assert.equal(routes.filter((route) => route.startsWith(`${networks[family]} `)).length, 1);
    }
    const ipv4 = families.includes("ipv4") ? addressOf(host, "ipv4") : "0.0.0.0";
    const value = `{"PublicIP":"${ipv4}","PublicIPv6":"${addressOf(host, "ipv6")}"}`;
    assert.ok((await leaseValues(lab)).includes(value), "no BackendType and no data, as with IPv4");
    const status = JSON.parse(await host.fetchText("/status")) as {
      mtu: number;
      backend: { peers: number; offloads: object };
    };
    assert.equal(status.mtu, 1452);
    assert.equal(status.backend.peers, lab.hosts.length - 1);
    const doctor = await host.exec([...flanneldCommand(), "doctor", ...host.commonArgs], { mayFail: true });
    assert.equal(doctor.code, 0, doctor.stdout);
  });
}

labTest("udp, dual stack: each family travels over its own, and one that is cut off doesn't stop the other", {
  hosts: 2,
  families: DUAL,
  config: networkConfig(DUAL, UDP),
}, async (lab) => {
  await lab.startAll();
  const [one, two] = await lab.connect();
  await lab.pingAll();
  const reaches = async (family: FamilyName) =>
    (await ping(one!, two!.addresses[family]!, { timeout: 500 })).received === 1;
  for (const [cut, other, table] of [["ipv4", "ipv6", "ip"], ["ipv6", "ipv4", "ip6"]] as const) {
    await lab.host(1).exec(["nft", "-f", "-"], {
      input:
        `table ${table} cut { chain output { type filter hook output priority 0; udp dport 8285 drop; }\n}\n`,
    });
    assert.equal(await reaches(cut), false, `${cut} is cut off`);
    assert.equal(await reaches(other), true, `${other} is not`);
    await lab.host(1).exec(["nft", "delete", "table", table, "cut"]);
    assert.equal(await reaches(cut), true, `${cut} again`);
  }
});

labTest("udp, dual stack: another IPv6 address of a host is followed", {
  hosts: 2,
  families: DUAL,
  config: networkConfig(DUAL, UDP),
}, async (lab) => {
  await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  const before = addressOf(lab.host(2), "ipv6")!;
  const after = before.replace(/2$/, "77");
  await lab.host(2).ip(
    `address add ${after}/64 dev eth0 nodad`,
    `address delete ${before}/64 dev eth0`,
  );
  await until("the lease to follow", async () => (await leaseValues(lab)).join().includes(after), 15_000);
  await lab.pingAll(10_000);
});

labTest("udp, dual stack: PeerFilter guards the port in both families, and own ports are published in both", {
  hosts: 2,
  families: DUAL,
  config: { ...networkConfig(DUAL, UDP), EnableNFTables: true, PeerFilter: true },
}, async (lab) => {
  lab.host(1).start({ args: ["-udp-port=9285"] });
  lab.host(2).start();
  await Promise.all(lab.hosts.map((host) => host.waitReady()));
  await lab.connect();
  await lab.pingAll();
  assert.match((await lab.host(1).exec(["nft", "list", "ruleset"])).stdout, /udp dport 9285/);
  const data = '"BackendData":{"Port":9285},"BackendV6Data":{"Port":9285}}';
  assert.ok((await leaseValues(lab)).some((value) => value.endsWith(data)));
});

labTest("udp, dual stack: a host of an IPv4 network's kind is reached over IPv4, and named for the rest", {
  hosts: 2,
  families: DUAL,
  config: apartFromPeers(networkConfig(DUAL, UDP)),
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady();
  const lease = '{"PublicIP":"172.30.0.99","PublicIPv6":null}';
  await lab.etcd.ctl("put", "/coreos.com/network/subnets/10.5.250.0-24&fc00:0:0:250::-64", lease);
  const problems = async () => JSON.stringify(JSON.parse(await host.fetchText("/status")).peers.problems);
  await until("the problem", async () => (await problems()).includes("no public IPv6 address"), 5000);
});
