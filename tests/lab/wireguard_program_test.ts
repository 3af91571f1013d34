/** WireGuard in user space: the program's life, what it gets from us, and what is left when it goes. */
import assert from "node:assert/strict";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { parsePing } from "../../scripts/lab/measure.ts";
import { until } from "../../scripts/lab/process.ts";
import { builtCommand, useCommand } from "./built_binary.ts";
import { labTest } from "./lab_test_case.ts";
import { keyFile, ownWireguard } from "../../scripts/lab/own_wireguard.ts";
import {
  dumpPeers,
  newKey,
  ownFolders,
  programs,
  startConnected,
  startWireguard,
  wg,
} from "./wireguard_lab.ts";

const config = (more = {}) => networkConfig(["ipv4"], { Type: "wireguard", ...more });

// It kept the launcher's descriptor, and with it the lock that keeps an old version's files from being removed.
labTest("wireguard: the program has no descriptor, folder or variable of the daemon's", {
  hosts: 1,
  config: config(),
}, async (lab) => {
  using _command = useCommand(await builtCommand());
  await startWireguard(lab);
  const [pid] = await programs(lab.host(1));
  const open = [...Deno.readDirSync(`/proc/${pid}/fd`)].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/${pid}/fd/${name}`);
    } catch {
      return "closed meanwhile";
    }
  });
  const foreign = open.filter((path) =>
    !/^(\/dev\/null|\/dev\/net\/tun|(socket|pipe):.*|anon_inode:.*|closed meanwhile)$/.test(path)
  );
  assert.deepEqual(foreign, []);
  // Both ends of a pipe of its own are here.
  const pipes = open.filter((path) => path.startsWith("pipe:"));
  assert.deepEqual(pipes.filter((pipe) => pipes.filter((other) => other === pipe).length < 2), []);
  assert.equal(Deno.readLinkSync(`/proc/${pid}/cwd`), "/");
  const names = Deno.readTextFileSync(`/proc/${pid}/environ`).split("\0").map((line) => line.split("=")[0]);
  assert.deepEqual(names.filter((name) => !/^(PATH|LOG_LEVEL|WG_\w+|)$/.test(name!)), []);
});

labTest("wireguard: a program that is killed is started again, with all peers", {
  hosts: 2,
  config: config(),
}, async (lab) => {
  const [from, to] = await startConnected(lab);
  const host = lab.host(1);
  const before = await dumpPeers(host);
  const [pid] = await programs(host);
  const pinging = from!.exec(
    ["ping", "-n", "-q", "-i", "0.01", "-c", "400", "-W", "1", to!.addresses.ipv4!],
    {
      mayFail: true,
    },
  );
  Deno.kill(pid!, "SIGKILL");
  await until("another program", async () => {
    const [other] = await programs(host);
    return other !== undefined && other !== pid && (await dumpPeers(host)).length === 1;
  }, 4_000);
  assert.deepEqual(await dumpPeers(host), before);
  const { stdout, stderr } = await pinging;
  const { sent, received } = parsePing(stdout, stderr);
  assert.ok(received > sent / 2, `${received} of ${sent}`);
  await lab.pingAll(3_000);
});

labTest("wireguard: a device of our name that a person made is refused, and stays as it is", {
  hosts: 1,
  config: config(),
}, async (lab) => {
  const host = lab.host(1);
  const key = `${lab.folder}/person`;
  await Deno.writeTextFile(key, newKey().privateKey);
  const start = ownWireguard(host);
  await host.exec([
    ...start.wrap,
    "sh",
    "-c",
    `wireguard-go flannel-wg && wg set flannel-wg private-key ${key}`,
  ]);
  await wg(host, "set", "flannel-wg", "listen-port", "4711");
  const [link, before] = [
    await host.ipJson("link", "show", "flannel-wg"),
    await wg(host, "show", "flannel-wg", "dump"),
  ];
  const { code } = await host.start(start).ended();
  assert.equal(code, 1);
  assert.match(host.daemon.log, /Cannot use the device flannel-wg: there is one of kind tun that isn't ours/);
  assert.equal(await wg(host, "show", "flannel-wg", "dump"), before);
  assert.deepEqual(await host.ipJson("link", "show", "flannel-wg"), link);
});

labTest("wireguard: a device that is renamed has its name again, with its sessions", {
  hosts: 2,
  config: config(),
}, async (lab) => {
  await startConnected(lab);
  const host = lab.host(1);
  const [pid] = await programs(host);
  await host.ip("link set flannel-wg down", "link set flannel-wg name mine");
  await until("its name", async () => (await host.ipJson("link", "show", "flannel-wg")).length === 1, 2_500);
  await lab.pingAll(2_500);
  assert.deepEqual(await programs(host), [pid]);
});

labTest("wireguard: another key that somebody sets is replaced by the key file's", {
  hosts: 2,
  config: config(),
}, async (lab) => {
  await startConnected(lab);
  const host = lab.host(1);
  const own = await wg(host, "show", "flannel-wg", "public-key");
  const key = `${lab.folder}/person`;
  await Deno.writeTextFile(key, newKey().privateKey);
  await wg(host, "set", "flannel-wg", "private-key", key);
  await until("the key", async () => await wg(host, "show", "flannel-wg", "public-key") === own, 2_500);
  await lab.pingAll(8_000);
});

/** Names of flannel's devices on a host. */
async function devices(host: Host): Promise<string> {
  return (await host.ipJson("link", "show")).map(({ ifname }) => String(ifname)).filter((name) =>
    name.startsWith("flannel")
  ).join(" ");
}

labTest("wireguard: another backend takes over and gives back, and nothing is left", {
  hosts: 2,
  config: config({ Mode: "separate" }),
}, async (lab) => {
  await startConnected(lab);
  const keys = await Promise.all(lab.hosts.map((host) => Deno.readTextFile(keyFile(host))));
  for (
    const [network, expected] of [
      [networkConfig(["ipv4"], { Type: "vxlan" }), "flannel.1"],
      [config(), "flannel-wg"],
    ] as const
  ) {
    await Promise.all(lab.hosts.map((host) => host.daemon.stop()));
    await lab.store.writeConfig(JSON.stringify(network));
    await startWireguard(lab);
    await lab.pingAll(10_000);
    for (const host of lab.hosts) {
      assert.equal(await devices(host), expected);
      assert.equal((await programs(host)).length, expected === "flannel-wg" ? 1 : 0);
      const routes = (await host.routes()).filter((line) =>
        line.startsWith("10.5.") && !line.includes("cni0")
      );
      assert.ok(routes.every((line) => line.includes(`dev ${expected}`)), routes.join("\n"));
    }
  }
  assert.deepEqual(await Promise.all(lab.hosts.map((host) => Deno.readTextFile(keyFile(host)))), keys);
});

labTest("wireguard: cleanup ends the program and removes the daemon's own key files", {
  hosts: 1,
  config: config(),
}, async (lab) => {
  const host = lab.host(1);
  const wrap = ownFolders(host, ["/run/wireguard", "/run/flannel", "/var/lib/flannel"]);
  const [, socketFolder, file, copy] = ["", "0", "1/wgkey", "2/wgkey"].map((path) =>
    `${host.folder}/${path}`
  );
  host.start({ wrap });
  await host.waitReady();
  assert.equal((await programs(host)).length, 1);
  assert.equal(await Deno.readTextFile(file!), await Deno.readTextFile(copy!));
  assert.equal((await Deno.stat(copy!)).mode! & 0o777, 0o600);
  await host.daemon.stop();
  assert.equal((await programs(host)).length, 1, "it outlives the daemon");
  const cleanup = [...wrap, ...flanneldCommand(), "cleanup", ...host.commonArgs];
  const { stdout, stderr } = await host.exec(cleanup);
  await until("the program's end", async () => (await programs(host)).length === 0, 2_000);
  assert.equal(await devices(host), "", stdout + stderr);
  for (const path of [file!, copy!, `${socketFolder}/flannel-wg.sock`]) {
    await assert.rejects(Deno.stat(path), Deno.errors.NotFound, path);
  }
  assert.equal((await host.exec(cleanup)).code, 0, "again");
});
