/**
 * flannel's own documents (running, backends, the clouds' first steps) from top to bottom on two hosts, each command as
 * it is printed there. Where it differs, a comment says how.
 */
import assert from "node:assert/strict";
import { run, until } from "../../scripts/lab/process.ts";
import type { SystemdHost } from "../../scripts/lab/systemd_host.ts";
import { makeImage, pingFromDocker } from "./containers.ts";
import { hostsTest } from "./hosts_test_case.ts";

const FILE = "/run/flannel/subnet.env";

hostsTest(
  "walk-through: flannel's documents, by hand, from the first start to containers",
  async ({ one, two }) => {
    const etcdctl = await giveEtcd(one);
    const address = one.host.addresses.ipv4!;

    // "it will hang waiting to talk to etcd"; without options, as etcd is on this host.
    await inBackground(one, "first", "flanneld");
    await logged(one, "first", /etcd .*127\.0\.0\.1:2379.* refused/);
    await inBackground(
      one,
      "etcd",
      `/srv/etcd --advertise-client-urls http://${address}:2379 --listen-client-urls http://0.0.0.0:2379`,
    );
    // "flannel can now talk to etcd, but can't find any config. So write some config." Its etcdctl set is now put.
    await logged(one, "first", /no network config/i);
    const config = `{ "Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}`;
    await one.sh(`${etcdctl} put /coreos.com/network/config '${config}'`);
    const text = await written(one, FILE, "10.5.0.0");
    assert.match(
      text,
      /^FLANNEL_NETWORK=10\.5\.0\.0\/16\nFLANNEL_SUBNET=10\.5\.\d+\.1\/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false$/,
    );
    assert.match(await one.sh("ip -d link show flannel.1"), /vxlan id 1 /);

    await inBackground(two, "second", `flanneld --etcd-endpoints=http://${address}:2379`);
    await written(two, FILE, "10.5.0.0");
    // "Check that the subnet lease acquired by each of the hosts has been added!"
    const keys = await one.sh(`${etcdctl} get --prefix --keys-only /coreos.com/network/subnets/`);
    assert.equal(keys.match(/^\/\S+-24$/gm)?.length, 2);

    await checkContainers(one, two);
    await checkTwoDaemons(one, etcdctl);

    // "Each time flannel is restarted, it will attempt to access the FLANNEL_SUBNET value"
    await one.sh("systemctl stop first");
    await inBackground(one, "again", "flanneld");
    await logged(one, "again", /origin=reused/);
    assert.equal(await one.sh(`cat ${FILE}`), text);
    // "Since 10.5.72.1/24 is outside of this network, a new lease will be allocated."
    await one.sh(
      `systemctl stop again; ${etcdctl} put /coreos.com/network/config '${config.replace("10.5", "10.6")}'`,
    );
    await inBackground(one, "moved", "flanneld");
    assert.match(await written(one, FILE, "10.6.0.0"), /^FLANNEL_SUBNET=10\.6\.\d+\.1\/24$/m);
  },
);

/** Copies this machine's etcd to a host. @returns The client's path there. */
async function giveEtcd(host: SystemdHost): Promise<string> {
  for (const name of ["etcd", "etcdctl"]) {
    const { stdout } = await run(["sh", "-c", `command -v ${name}`]);
    await Deno.copyFile(stdout.trim(), `${host.shared}/${name}`);
  }
  return "ETCDCTL_API=3 /srv/etcdctl";
}

/** Runs a command as a person's other terminal does. */
async function inBackground(host: SystemdHost, name: string, command: string): Promise<void> {
  await host.sh(`systemd-run --quiet --unit=${name} ${command}`);
}

async function logged(host: SystemdHost, unit: string, what: RegExp): Promise<void> {
  let log = "";
  const look = async () => what.test(log = await host.journal(unit));
  await until(`${unit} to log ${what}`, look, 20_000).catch((error) => {
    throw new Error(`${error.message}, found:\n${log}`);
  });
}

async function written(host: SystemdHost, path: string, network: string): Promise<string> {
  return await until(`${path} with ${network}`, async () => {
    const text = await host.sh(`cat ${path}`);
    return text.includes(`FLANNEL_NETWORK=${network}`) && text;
  }, 20_000);
}

/** Docker with the subnet on one host, a network of Docker's on the other: their containers ping each other. */
async function checkContainers(one: SystemdHost, two: SystemdHost): Promise<void> {
  // "docker daemon" is now dockerd.
  await one.sh(`
    systemctl stop docker.socket docker
    ip link delete docker0
    bash -c 'source ${FILE}
      dockerd --bip=\${FLANNEL_SUBNET} --mtu=\${FLANNEL_MTU} >/srv/dockerd.log 2>&1 &'`);
  await two.sh(`bash -ec 'source ${FILE}
    docker network create --attachable=true --subnet=\${FLANNEL_SUBNET} \\
      -o "com.docker.network.driver.mtu"=\${FLANNEL_MTU} flannel'`);
  await until("Docker to answer", () => one.sh("docker version"), 20_000);
  for (const [host, network] of [[one, "bridge"], [two, "flannel"]] as const) {
    await makeImage(host);
    await host.sh(`docker run --detach --name box --network ${network} box /usr/bin/busybox sleep 1000`);
  }
  const addresses = await Promise.all(
    [one, two].map((host) =>
      host.sh("docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' box")
    ),
  );
  await until("a ping from one to two", () => pingFromDocker(one, "box", addresses[1]!), 10_000);
  await until("a ping from two to one", () => pingFromDocker(two, "box", addresses[0]!), 10_000);
  const mtu = await two.sh("docker exec box /usr/bin/busybox cat /sys/class/net/eth0/mtu");
  assert.equal(mtu, "1450");
}

/** "It does support running multiple daemons on the same host with different configurations." */
async function checkTwoDaemons(host: SystemdHost, etcdctl: string): Promise<void> {
  // Two vxlan networks need two VNIs.
  const config = `{"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan", "VNI": 2}}`;
  await host.sh(`${etcdctl} put /vxlan/network/config '${config}'`);
  await inBackground(host, "vxlan", "flanneld -subnet-file /vxlan.env -etcd-prefix=/vxlan/network");
  await written(host, "/vxlan.env", "10.9.0.0");
  assert.match(await host.sh("ip -o link show type vxlan"), /flannel\.1:[^]*flannel\.2:/);
  // Ready a moment after the subnet file: when the firewall's rules are in.
  const status = () => host.sh("flanneld status -subnet-file /vxlan.env");
  assert.match(await until("readiness", status, 10_000), /10\.9\.\d+\.0\/24/);
  assert.match(await host.sh("flanneld leases list -subnet-file /vxlan.env -csv"), /10\.9\./);
  await host.sh("systemctl stop vxlan");
}
