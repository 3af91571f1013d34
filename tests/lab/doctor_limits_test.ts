/** `doctor`: tables and limits that run out, and what an earlier run left in the kernel. */
import assert from "node:assert/strict";
import { assertFound, examine } from "./doctor_lab.ts";
import { labTest } from "./lab_test_case.ts";

/** Covers a setting that belongs to the whole machine, for this run of doctor alone. */
function cover(path: string, text: string): string {
  return `f=$(mktemp) && echo '${text}' >$f && mount --bind $f ${path} && rm $f`;
}

labTest("doctor: conntrack, neighbours, and the daemon's descriptors near their limits", {
  hosts: 2,
}, async (lab) => {
  const [host, peer] = [lab.host(1), lab.host(2)];
  await Promise.all([host.startReady(), peer.startReady()]);
  const neighbours = Array.from(
    { length: 17 },
    (_, i) => `neighbour add 172.30.1.${i + 1} lladdr 02:00:00:00:01:0a dev eth0 nud stale`,
  );
  await host.ip(...neighbours);
  // The kernel tracks connections once a rule asks for their state.
  await host.exec(["iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT"]);
  const { stdout: before } = await host.exec(["cat", "/proc/sys/net/netfilter/nf_conntrack_count"]);
  await host.exec(["python3", "-c", OPEN_FLOWS]);
  const { stdout: after } = await host.exec(["cat", "/proc/sys/net/netfilter/nf_conntrack_count"]);
  assert.ok(Number(after) >= Number(before) + 90, `${before} to ${after} tracked connections`);

  const { pid } = host.daemon;
  const open = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
  await host.exec(["prlimit", "--pid", String(pid), `--nofile=${open + 2}:`]);
  const examined = await examine(host, {
    before: [
      cover("/proc/sys/net/netfilter/nf_conntrack_max", "100"),
      // gc_thresh3 is the first namespace's; 17 neighbours, the peer's, and perhaps the router's.
      "n=/proc/sys/net/ipv4/neigh; mount -t tmpfs none $n && mkdir $n/default && echo 20 >$n/default/gc_thresh3",
    ].join("\n"),
  });
  assertFound(examined, [
    /^(warning|fault) resources: \d+ of 100 tracked connections: packets of new connections are dropped/,
    /^warning resources: 1[89] of 20 IPv4 neighbours.*: hosts and containers on the wire are not found/,
    /^(warning|fault) resources: \d+ of \d+ descriptors of the daemon \(process \d+\): it cannot open connections/,
  ]);
  const commands = examined.all.flatMap(({ remedy }) => remedy);
  assert.ok(commands.includes(`prlimit --pid ${pid} --nofile=65536`), commands.join("\n"));
});

/** A hundred flows over loopback. */
const OPEN_FLOWS = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(20000, 20100): s.sendto(b"x", ("127.0.0.1", port))`;

labTest("doctor: entries of an earlier run and of another tool that no lease asks for", {
  hosts: 3,
}, async (lab) => {
  const [host, gone] = [lab.host(1), lab.host(3)];
  const [, , left] = await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  await host.daemon.stop();
  const calm = await examine(host);
  assert.deepEqual(calm.bad, [], "what the daemon leaves is what the leases ask for");
  // The third host gives its subnet back, and another tool leaves what it made by hand.
  await gone.daemon.stop();
  const subnet = left!.subnets.ipv4!.replace(/\.1\/24$/, ".0-24");
  await lab.etcd.ctl("del", `/coreos.com/network/subnets/${subnet}`);
  await host.exec([
    "sh",
    "-ec",
    `ip neigh add 10.5.77.0 lladdr 02:00:00:00:00:77 dev flannel.1 nud permanent
     bridge fdb add 02:00:00:00:00:77 dev flannel.1 dst 172.30.0.77 self permanent
     ip route add 10.5.77.0/24 via 10.5.77.0 dev flannel.1 onlink`,
  ]);
  const examined = await examine(host);
  assertFound(examined, [
    /^warning entries: 6 entries of an earlier run or another tool that no lease asks for/,
  ]);
  const { remedy } = examined.all.find(({ check }) => check === "entries")!;
  await host.exec(["sh", "-ec", remedy.slice(1).join("\n")]);
  assert.deepEqual((await examine(host)).bad, [], "after the remedy's commands");
  // While a daemon runs it removes them itself.
  await host.ip("route add 10.5.78.0/24 via 10.5.78.0 dev flannel.1 onlink");
  await host.startReady();
  assert.deepEqual((await host.routes("-4", "flannel.1")).filter((route) => /10\.5\.78/.test(route)), []);
});
