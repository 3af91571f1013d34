/** `report` on a real host: everything is in it, and no planted secret. */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import { run } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";

const SECRET = "Geheim7Zeichen";

const PLANTED = `
  t=$(mktemp -d) && mount -t tmpfs none $t && mkdir $t/u $t/w
  mount -t overlay overlay -o lowerdir=/etc,upperdir=$t/u,workdir=$t/w /etc
  umount -l $t && rmdir $t
  mkdir -p /etc/systemd/system /etc/cni/net.d /etc/default
  echo 'FLANNELD_ETCD_PASSWORD=${SECRET}1' >/etc/default/flanneld
  printf '[Service]\\nEnvironment="AWS_SECRET_ACCESS_KEY=${SECRET}2"\\nExecStart=flanneld -etcd-password ${SECRET}3\\n' \\
    >/etc/systemd/system/flanneld.service
  echo '{"type":"flannel","token":"${SECRET}4","url":"https://u:${SECRET}5@example"}' >/etc/cni/net.d/10-flannel.conf
  iptables -A INPUT -m comment --comment 'key ${SECRET}6' -j ACCEPT`;

labTest("report: all parts of a running host, in a file of mode 0600, without any planted secret", {
  hosts: 2,
}, async (lab) => {
  const host = lab.host(1);
  await Promise.all(lab.hosts.map((one) => one.startReady()));
  const archive = `${host.folder}/report.tar.gz`;
  const command = [...flanneldCommand(), "report", "-o", archive, ...host.commonArgs];
  const script = `set -e\n${PLANTED}\nexport VENDOR_API_TOKEN=${SECRET}6\nexec "$@"`;
  const report = () => host.exec(["sh", "-c", script, "sh", ...command], { mayFail: true });

  const { code, stdout, stderr } = await report();
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^missing +flanneld\/log\.txt: .*docker logs --tail/m);
  assert.match(stdout, /report\.tar\.gz: \d+ of \d+ parts, \d+ KiB, secrets masked$/m);
  assert.equal((await Deno.stat(archive)).mode! & 0o777, 0o600);

  const folder = await Deno.makeTempDir({ dir: host.folder });
  await run(["tar", "-xzf", archive, "--strip-components=1", "-C", folder]);
  const found = await run(["grep", "-rl", SECRET, folder], { mayFail: true });
  assert.equal(found.stdout, "");
  const text = (name: string) => Deno.readTextFile(`${folder}/${name}`);
  assert.equal(JSON.parse(await text("flanneld/status.json")).ready, true);
  assert.equal(JSON.parse(await text("flanneld/doctor.json")).schemaVersion, 1);
  assert.equal(JSON.parse(await text("flanneld/config.json")).Network, "10.5.0.0/16");
  assert.equal(JSON.parse(await text("flanneld/leases.json")).length, 2);
  assert.match(await text("flanneld/options.txt"), /FLANNELD_ETCD_PASSWORD=\*\*\*/);
  assert.match(await text("flanneld/unit.txt"), /ExecStart=flanneld -etcd-password \*\*\*/);
  assert.match(await text("flanneld/subnet.txt"), /^FLANNEL_SUBNET=/m);
  assert.match(await text("network/links.txt"), /flannel\.1/);
  assert.match(await text("network/routes.txt"), /dev flannel\.1 .*onlink/);
  assert.match(await text("network/fdb.txt"), /172\.30\.0\.2/);
  const kernel = JSON.parse(await text("network/kernel.json"));
  assert.ok(kernel.links.some(({ name }: { name: string }) => name === "flannel.1"));
  assert.ok(kernel.fdb.some(({ remote }: { remote: string }) => remote === "172.30.0.2"));
  assert.match(await text("firewall/iptables-nft.txt"), /FLANNEL-FWD/);
  assert.match(await text("host/settings.txt"), /^net\.ipv4\.ip_forward = 1$/m);
  assert.match(await text("host/versions.txt"), /^kernel: Linux/m);

  const again = await report();
  assert.equal(again.code, 1);
  // It named a link, a temporary file and the system's error number as well.
  assert.match(again.stderr, /report\.tar\.gz is there already: name another file with -o\n$/);

  // It made a file of this name.
  const [name, ...rest] = [...flanneldCommand(), "report", "-o", "-", ...host.commonArgs];
  const piped = await host.exec(["bash", "-c", '"$@" | tar -tz; ls -- -; true', "bash", name!, ...rest]);
  assert.match(piped.stdout, /\/flanneld\/doctor\.txt$/m, piped.stderr);
  assert.match(piped.stderr, /^stdout: \d+ of \d+ parts/m);
  assert.match(piped.stderr, /ls: cannot access '-'/);
  const full = [...flanneldCommand(), "leases", "map", "/dev/full", ...host.commonArgs];
  const map = await host.exec(full, { mayFail: true });
  assert.deepEqual([map.code, map.stderr.replace(/:.*/s, "")], [1, "flanneld"]);
  assert.match(map.stderr, /^flanneld: Cannot write \/dev\/full: /);
});

labTest("report: a host without daemon, store and config says what is missing", {
  hosts: 1,
  store: "sqlite",
  config: null,
}, async (lab) => {
  const host = lab.host(1);
  const archive = `${dirname(host.folder)}/report.tar.gz`;
  const args = [
    "report",
    "-o",
    archive,
    "-etcd-endpoints=http://172.30.0.99:2379",
    `-subnet-file=${host.subnetFile}`,
  ];
  const began = performance.now();
  const { code, stdout } = await host.exec([...flanneldCommand(), ...args], { mayFail: true });
  assert.equal(code, 0);
  assert.ok(performance.now() - began < 20_000);
  for (const part of ["status.json", "config.json", "leases.json"]) {
    assert.match(stdout, new RegExp(`^missing +flanneld/${part}: `, "m"));
  }
  assert.match((await run(["tar", "-tzf", archive])).stdout, /doctor\.txt/);
});
