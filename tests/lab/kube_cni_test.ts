/** The plugin as container runtimes call it, with Debian's plugins behind it. */
import assert from "node:assert/strict";
import type { Host } from "../../scripts/lab/host.ts";
import { ping } from "../../scripts/lab/measure.ts";
import { Namespace } from "../../scripts/lab/namespace.ts";
import { run } from "../../scripts/lab/process.ts";
import { builtBinary } from "./built_binary.ts";
import { kubeTest } from "./kube_lab.ts";

const PLUGINS = "/usr/lib/cni";

/** So many times as long as an empty run of the executable takes until the delegate's first instruction, at most. */
const LIMIT = 3;

interface Result {
  readonly ips: readonly { readonly address: string }[];
}

/** What a container runtime does on one host. */
class Runtime {
  readonly #host: Host;
  readonly #folder: string;
  readonly #bin: string;

  constructor(host: Host, bin: string) {
    this.#host = host;
    this.#folder = `${host.folder}/cni`;
    this.#bin = bin;
  }

  /** Configuration of the first plugin of a list, as a runtime gives it. */
  conf(subnetFile = this.#host.subnetFile): Record<string, unknown> {
    return {
      name: "cbr0",
      cniVersion: "0.4.0",
      type: "flannel",
      subnetFile,
      dataDir: `${this.#folder}/flannel`,
      ipam: { dataDir: `${this.#folder}/networks` },
      delegate: { hairpinMode: true, isDefaultGateway: true },
    };
  }

  async call(
    plugin: string,
    command: string,
    conf: object,
    pod: Namespace,
  ): Promise<{ code: number; stdout: string }> {
    const variables = [
      `CNI_COMMAND=${command}`,
      `CNI_CONTAINERID=${pod.name}`,
      `CNI_NETNS=/run/netns/${pod.name}`,
      "CNI_IFNAME=eth0",
      `CNI_PATH=${this.#bin}:${PLUGINS}`,
    ];
    const path = plugin === "flannel" ? `${this.#bin}/flannel` : `${PLUGINS}/${plugin}`;
    return await this.#host.exec(["env", ...variables, path], {
      mayFail: true,
      input: JSON.stringify(conf),
    });
  }

  async add(pod: Namespace): Promise<{ address: string; result: object }> {
    const { code, stdout } = await this.call("flannel", "ADD", this.conf(), pod);
    assert.equal(code, 0, stdout);
    const result = JSON.parse(stdout) as Result;
    return { address: result.ips[0]!.address.split("/")[0]!, result };
  }
}

/** The plugin's folder with a name of its own, and what it unpacks beside it. */
async function installPlugin(folder: string): Promise<string> {
  const bin = `${folder}/bin`;
  await Deno.mkdir(bin, { recursive: true });
  const binary = await builtBinary();
  await Deno.writeTextFile(
    `${bin}/flannel`,
    `#!/bin/sh\nexport FLANNELD_CACHE_DIR=${binary}.cache\nexec ${binary} cni\n`,
    { mode: 0o755 },
  );
  return bin;
}

async function makePod(host: Host, name: string): Promise<Namespace> {
  const pod = new Namespace(`${host.name}-${name}`, host.children);
  await run(["ip", "netns", "add", pod.name]);
  await pod.ip("link set lo up");
  return pod;
}

kubeTest("kube cni: Pods on two hosts ping, a port is mapped, DEL twice, CHECK, and ADD before the daemon", {
  hosts: 2,
}, async ({ lab, startAll }) => {
  const bin = await installPlugin(lab.folder);
  const [one, two] = lab.hosts;
  const runtimes = lab.hosts.map((host) => new Runtime(host, bin));
  const pods = await Promise.all(lab.hosts.map((host) => makePod(host, "pod")));
  const early = await runtimes[0]!.call("flannel", "ADD", runtimes[0]!.conf(), pods[0]!);
  assert.equal(early.code, 1);
  assert.deepEqual([JSON.parse(early.stdout).code, /not ready/.test(early.stdout)], [11, true]);
  await startAll();

  const added: { address: string; result: object }[] = [];
  for (const [index, runtime] of runtimes.entries()) added.push(await runtime.add(pods[index]!));
  assert.match(added[0]!.address, /^10\.5\.1\./);
  const pings = async () => (await ping(pods[0]!, added[1]!.address, { count: 3 })).received;
  assert.ok(await pings() > 0, "from Pod to Pod");

  // The next plugin of the list gets the result of ours.
  const portmap = {
    name: "cbr0",
    cniVersion: "0.4.0",
    type: "portmap",
    capabilities: { portMappings: true },
    runtimeConfig: { portMappings: [{ hostPort: 8088, containerPort: 80, protocol: "tcp" }] },
    prevResult: added[1]!.result,
  };
  const mapped = await runtimes[1]!.call("portmap", "ADD", portmap, pods[1]!);
  assert.equal(mapped.code, 0, mapped.stdout);
  const server = pods[1]!.spawn([
    "bash",
    "-c",
    "exec busybox nc -l -p 80 -e echo mapped || nc -l -p 80 -c 'echo mapped'",
  ]);
  try {
    const script = `for i in $(seq 50); do exec 3<>/dev/tcp/${
      two!.addresses.ipv4
    }/8088 && cat <&3 && exit; sleep 0.1; done`;
    const { stdout } = await one!.exec(["bash", "-c", `${script} 2>/dev/null`], { mayFail: true });
    assert.match(stdout, /mapped/);
  } finally {
    try {
      server.kill("SIGKILL");
    } catch {
      // It served its one client and ended.
    }
    await Promise.allSettled([server.status, server.stdout.cancel(), server.stderr.cancel()]);
  }

  const check = { ...runtimes[0]!.conf(), prevResult: added[0]!.result };
  const checked = await runtimes[0]!.call("flannel", "CHECK", check, pods[0]!);
  assert.equal(checked.code, 0, checked.stdout);
  await pods[0]!.ip("link set eth0 down", "addr flush dev eth0");
  assert.equal((await runtimes[0]!.call("flannel", "CHECK", check, pods[0]!)).code, 1, "the address is gone");

  for (const time of ["once", "twice"]) {
    const { code, stdout } = await runtimes[0]!.call("flannel", "DEL", runtimes[0]!.conf(), pods[0]!);
    assert.equal(code, 0, `DEL ${time}: ${stdout}`);
  }
  assert.deepEqual(await Array.fromAsync(Deno.readDir(`${one!.folder}/cni/flannel`)), []);
});

kubeTest("kube cni: the delegate runs soon after the call", { hosts: 1 }, async ({ lab, startAll }) => {
  await startAll();
  const host = lab.host(1), bin = await installPlugin(lab.folder);
  const runtime = new Runtime(host, bin);
  // A delegate that says when it was started, in nanoseconds.
  await Deno.writeTextFile(`${bin}/clock`, "#!/bin/sh\ndate +%s%N\n", { mode: 0o755 });
  const pod = await makePod(host, "clock");
  const conf = { ...runtime.conf(), delegate: { type: "clock" } };
  await runtime.call("flannel", "ADD", conf, pod);
  const binary = await builtBinary();
  const times: number[] = [], empty: number[] = [];
  for (let run = 0; run < 7; run++) {
    const start = performance.now();
    await host.exec(["env", `FLANNELD_CACHE_DIR=${binary}.cache`, binary, "-version"]);
    empty.push(performance.now() - start);
    const began = performance.timeOrigin + performance.now();
    const { stdout } = await runtime.call("flannel", "ADD", conf, pod);
    times.push(Number(stdout.trim()) / 1e6 - began);
  }
  const [middle, least] = [times, empty].map((all) => all.toSorted((a, b) => a - b)[3]!);
  console.log(`    call to delegate: ${middle!.toFixed(0)} ms, an empty run: ${least!.toFixed(0)} ms`);
  assert.ok(middle! < LIMIT * least!, `${middle} ms, an empty run ${least} ms`);
});
