import assert from "node:assert/strict";
import { connectByHand } from "../../scripts/lab/by_hand.ts";
import { IS_ROOT, labTest } from "./lab_test_case.ts";
import { Lab } from "../../scripts/lab/lab.ts";
import { ownPrefix, removeFolder, removeLeftovers } from "../../scripts/lab/leftovers.ts";
import { parsePing, ping, throughput } from "../../scripts/lab/measure.ts";
import { run, until } from "../../scripts/lab/process.ts";

/** The lab itself is tested with devices made by hand: what it reports must not depend on flanneld. */
for (const kind of ["vxlan", "host-gw"] as const) {
  labTest(
    `a ${kind} network made by hand connects all containers`,
    { store: "sqlite", config: null },
    async (lab) => {
      await connectByHand(lab, kind, 1500);
      await lab.connect();
      await lab.pingAll(1000);
      const [first, second] = lab.containers;
      const address = second!.addresses.ipv4!;
      const full = kind === "vxlan" ? 1450 : 1500;
      assert.equal((await ping(first!, address, { size: full - 28 })).received, 1, "a full packet passes");
      assert.equal((await ping(first!, address, { size: full - 27 })).received, 0, "a larger one doesn't");
      assert.ok(await throughput(first!, second!, address, 1) > 10, "Mbit/s");
    },
  );
}

labTest("a pair that can't talk is named", { hosts: 2, store: "sqlite", config: null }, async (lab) => {
  await connectByHand(lab, "host-gw", 1500);
  await lab.connect();
  await lab.host(2).ip("route del 10.5.1.0/24", "route add blackhole 10.5.1.0/24");
  await assert.rejects(lab.pingAll(100), /h1c1 → .*h2c1 .*h2c1 → .*h1c1/);
});

labTest(
  "two segments have a router between them, in both families",
  { hosts: 2, segments: 2, families: ["ipv4", "ipv6"], store: "sqlite", config: null },
  async (lab) => {
    const [first, second] = lab.hosts;
    assert.notEqual(first!.segment, second!.segment);
    for (const address of [second!.addresses.ipv4!, second!.addresses.ipv6!]) {
      assert.equal((await ping(first!, address, { count: 3 })).received, 3, address);
      const { stdout } = await run(["ip", "-n", first!.name, "route", "get", address]);
      assert.match(stdout, / via /);
    }
  },
);

labTest("etcd on the switch answers hosts", { hosts: 1 }, async (lab) => {
  const { stdout } = await lab.host(1).exec(
    ["etcdctl", "--endpoints", lab.etcd.endpoint, "get", "--print-value-only", "/coreos.com/network/config"],
  );
  assert.equal(JSON.parse(stdout).Backend.Type, "vxlan");
});

Deno.test({
  name: "a lab leaves nothing behind, and a killed one is found by its name (needs root)",
  ignore: !IS_ROOT,
  fn: async () => {
    const lab = await Lab.create({ hosts: 1 });
    const namespaces = async () =>
      (await run(["ip", "netns", "list"])).stdout.split("\n").filter((line) => line.startsWith(lab.prefix));
    assert.equal((await namespaces()).length, 2);
    await lab[Symbol.asyncDispose]();
    assert.deepEqual(await namespaces(), []);
    await assert.rejects(Deno.stat(lab.folder), Deno.errors.NotFound);

    // No process has this pid: it is above the kernel's limit (PID_MAX_LIMIT is 4,194,304).
    const left = `flt-4999999-${crypto.randomUUID().slice(0, 6)}-h1`;
    await run(["ip", "netns", "add", left]);
    assert.ok((await removeLeftovers()).includes(left));
    assert.ok(!(await run(["ip", "netns", "list"])).stdout.includes(left));
  },
});

// It failed with ENOTEMPTY: what was killed a moment ago had not ended.
Deno.test("a folder is removed though a process still writes into it", async () => {
  const folder = await Deno.makeTempDir({ prefix: ownPrefix() });
  const script = 'end=$(($(date +%s) + 2)); while [ $(date +%s) -lt $end ]; do : >"$1/$((i += 1))"; done';
  const writer = new Deno.Command("sh", { args: ["-c", script, "sh", folder], stderr: "null" }).spawn();
  await until("a file", async () => (await Array.fromAsync(Deno.readDir(folder))).length > 0, 10_000);
  await removeFolder(folder);
  await removeFolder(folder);
  await assert.rejects(Deno.stat(folder), Deno.errors.NotFound);
  await writer.status;
});

Deno.test("the folder of a run goes with it, also when the run is killed", async () => {
  const module = new URL("../../scripts/lab/run_folder.ts", import.meta.url).href;
  const script = `const { RunFolder } = await import(${JSON.stringify(module)});
const folder = await RunFolder.create();
await Deno.writeTextFile(folder.temporary + "/file", "");
console.log(folder.path);
await new Promise((resolve) => setTimeout(resolve, 60_000));`;
  const run = new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    stdout: "piped",
  }).spawn();
  const reader = run.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const path = (await reader.read()).value!.trim();
  assert.ok((await Deno.stat(`${path}/tmp/file`)).isFile);
  run.kill("SIGKILL");
  await run.status;
  await reader.cancel();
  await until("the folder to go", async () => {
    return await Deno.stat(path).then(() => false, () => true);
  }, 20_000);
});

Deno.test("ping's closing lines are read, and their absence is an error", () => {
  const stdout =
    "3 packets transmitted, 2 received, 33% packet loss, time 21ms\nrtt min/avg/max/mdev = 0.1/0.2/0.3/0 ms";
  assert.deepEqual(parsePing(stdout, ""), { sent: 3, received: 2, milliseconds: 0.2 });
  assert.throws(() => parsePing("", "ping: bad option"), /bad option/);
});
