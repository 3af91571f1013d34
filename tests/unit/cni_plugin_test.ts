import assert from "node:assert/strict";
import { runPlugin } from "../../lib/cni/plugin.ts";

const SUBNET_ENV =
  "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

/** A delegate that notes its input and command, and answers. */
const DELEGATE = `#!/bin/sh
cat >"$0.$CNI_COMMAND.$CNI_CONTAINERID.json"
case $CNI_COMMAND in
  STATUS | GC) echo '{"code":4,"msg":"unknown CNI_COMMAND"}'; exit 1 ;;
esac
if [ -e "$0.fails" ]; then echo '{"cniVersion":"1.0.0","code":11,"msg":"no address left","details":"host-local"}'; exit 1; fi
if [ $CNI_COMMAND = ADD ]; then echo '{"cniVersion":"1.0.0","ips":[]}'; fi
`;

/** A folder with a subnet file and a bridge that only takes notes. */
class Setup implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  static async open(): Promise<Setup> {
    const setup = new Setup(await Deno.makeTempDir({ prefix: "flanneld-cni-" }));
    await Deno.writeTextFile(`${setup.folder}/subnet.env`, SUBNET_ENV);
    await Deno.writeTextFile(`${setup.folder}/bridge`, DELEGATE, { mode: 0o755 });
    return setup;
  }

  conf(more: object = {}): string {
    return JSON.stringify({
      ...{ cniVersion: "1.0.0", name: "cbr0", type: "flannel" },
      subnetFile: `${this.folder}/subnet.env`,
      dataDir: `${this.folder}/data`,
      ...more,
    });
  }

  /** Calls the plugin as a container runtime does. */
  async call(command: string, { conf = this.conf(), env = {} as Record<string, string> } = {}) {
    const variables: Record<string, string> = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: "c1",
      CNI_NETNS: "/run/netns/c1",
      CNI_IFNAME: "eth0",
      CNI_PATH: `/nonexistent:${this.folder}`,
      ...env,
    };
    // The delegate inherits the process's environment, as it does from a runtime.
    for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
    try {
      let output = "";
      const status = await runPlugin({
        env: (name) => variables[name],
        stdin: () => Promise.resolve(conf),
        print: (text) => void (output += text),
      });
      return { status, answer: output === "" ? undefined : JSON.parse(output) };
    } finally {
      for (const name of Object.keys(variables)) Deno.env.delete(name);
    }
  }

  /** What the delegate got on stdin. */
  async given(command: string, container = "c1"): Promise<unknown> {
    return JSON.parse(await Deno.readTextFile(`${this.folder}/bridge.${command}.${container}.json`));
  }

  async isCached(container = "c1"): Promise<boolean> {
    return await Deno.stat(`${this.folder}/data/${container}`).then(() => true, () => false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("cni ADD: the delegate gets what flannel's own plugin gives it", async () => {
  await using setup = await Setup.open();
  const { status, answer } = await setup.call("ADD");
  assert.deepEqual([status, answer], [0, { cniVersion: "1.0.0", ips: [] }]);
  assert.deepEqual(await setup.given("ADD"), {
    name: "cbr0",
    type: "bridge",
    cniVersion: "1.0.0",
    ipMasq: false,
    isGateway: true,
    mtu: 1450,
    ipam: { type: "host-local", ranges: [[{ subnet: "10.5.72.0/24" }]], routes: [{ dst: "10.5.0.0/16" }] },
  });
  const info = await Deno.stat(`${setup.folder}/data/c1`);
  assert.equal(info.mode! & 0o777, 0o600);
});

Deno.test("cni ADD: what the configuration says goes before defaults; both families; several networks", async () => {
  await using setup = await Setup.open();
  await Deno.writeTextFile(
    `${setup.folder}/subnet.env`,
    "FLANNEL_NETWORK=10.5.0.0/16,10.6.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\nFLANNEL_IPV6_NETWORK=fc00::/48\n" +
      "FLANNEL_IPV6_SUBNET=fc00:0:0:1::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n",
  );
  const conf = setup.conf({
    delegate: { hairpinMode: true, isGateway: false, mtu: 1300, ipMasq: true },
    ipam: { routes: [{ dst: "192.0.2.0/24" }], dataDir: "/x" },
    runtimeConfig: { portMappings: [] },
  });
  await setup.call("ADD", { conf });
  assert.deepEqual(await setup.given("ADD"), {
    ...{ name: "cbr0", type: "bridge", cniVersion: "1.0.0", hairpinMode: true, isGateway: false, mtu: 1300 },
    ipMasq: true,
    runtimeConfig: { portMappings: [] },
    ipam: {
      type: "host-local",
      dataDir: "/x",
      ranges: [[{ subnet: "10.5.72.0/24" }], [{ subnet: "fc00:0:0:1::/64" }]],
      routes: [{ dst: "192.0.2.0/24" }, { dst: "10.5.0.0/16" }, { dst: "10.6.0.0/16" }, { dst: "fc00::/48" }],
    },
  });
});

Deno.test("cni ADD: a host that isn't ready is tried again later; what is wrong is named with its code", async () => {
  await using setup = await Setup.open();
  await Deno.remove(`${setup.folder}/subnet.env`);
  const early = await setup.call("ADD");
  assert.deepEqual([early.status, early.answer.code, early.answer.cniVersion], [1, 11, "1.0.0"]);
  assert.match(early.answer.msg, /no subnet file .*flanneld is not ready/);
  await Deno.writeTextFile(`${setup.folder}/subnet.env`, "FLANNEL_NETWORK=10.5.0.0/16\n");
  const table: [string, Parameters<Setup["call"]>[1], number, RegExp][] = [
    ["ADD", {}, 7, /no FLANNEL_SUBNET .*no FLANNEL_MTU/],
    ["ADD", { conf: "{" }, 6, /JSON/],
    ["ADD", { conf: setup.conf({ cniVersion: "9.9.9" }) }, 1, /9\.9\.9.*1\.1\.0/],
    ["ADD", { conf: setup.conf({ delegate: { name: "x" } }) }, 7, /delegate must not have name/],
    ["ADD", { conf: setup.conf({ delegate: { ipam: {} } }) }, 7, /delegate must not have ipam/],
    ["ADD", { conf: setup.conf({ name: "a/b" }) }, 7, /name/],
    ["ADD", { env: { CNI_CONTAINERID: "../x" } }, 4, /CNI_CONTAINERID/],
    ["ADD", { env: { CNI_NETNS: "" } }, 4, /CNI_NETNS/],
    ["NONSENSE", {}, 4, /ADD, DEL, CHECK, STATUS, GC, VERSION/],
  ];
  for (const [command, call, code, message] of table) {
    const { status, answer } = await setup.call(command, call);
    assert.deepEqual([status, answer.code], [1, code], JSON.stringify(answer));
    assert.match(answer.msg, message);
  }
});

Deno.test("cni DEL: undoes what was added, twice is no error, and what fails is tried again", async () => {
  await using setup = await Setup.open();
  await setup.call("ADD");
  await Deno.writeTextFile(`${setup.folder}/bridge.fails`, "");
  const failed = await setup.call("DEL");
  assert.deepEqual([failed.status, failed.answer.code, await setup.isCached()], [1, 11, true]);
  assert.match(failed.answer.msg, /bridge: no address left/);
  await Deno.remove(`${setup.folder}/bridge.fails`);
  // The subnet file isn't needed: the daemon may be gone.
  await Deno.remove(`${setup.folder}/subnet.env`);
  assert.equal((await setup.call("DEL")).status, 0);
  assert.deepEqual([await setup.given("DEL"), await setup.isCached()], [await setup.given("ADD"), false]);
  assert.deepEqual(await setup.call("DEL"), { status: 0, answer: undefined });
});

Deno.test("cni CHECK: a container of another subnet is not well", async () => {
  await using setup = await Setup.open();
  assert.equal((await setup.call("CHECK")).answer.code, 3);
  await setup.call("ADD");
  const conf = setup.conf({ prevResult: { ips: [] } });
  assert.equal((await setup.call("CHECK", { conf })).status, 0);
  assert.deepEqual((await setup.given("CHECK") as { prevResult: unknown }).prevResult, { ips: [] });
  await Deno.writeTextFile(`${setup.folder}/subnet.env`, SUBNET_ENV.replace("10.5.72.1", "10.5.73.1"));
  assert.match((await setup.call("CHECK", { conf })).answer.msg, /10\.5\.72\.0.*10\.5\.73\.0/);
});

Deno.test("cni STATUS, GC and VERSION, with a delegate that is too old for the first two", async () => {
  await using setup = await Setup.open();
  assert.equal((await setup.call("STATUS")).status, 0);
  await setup.call("ADD");
  await setup.call("ADD", { env: { CNI_CONTAINERID: "c2" } });
  const conf = setup.conf({ "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] });
  assert.equal((await setup.call("GC", { conf })).status, 0);
  assert.deepEqual([await setup.isCached("c1"), await setup.isCached("c2")], [false, true]);
  await Deno.remove(`${setup.folder}/subnet.env`);
  assert.equal((await setup.call("STATUS")).answer.code, 50);
  const { answer } = await setup.call("VERSION", { conf: '{"cniVersion":"0.4.0"}' });
  assert.deepEqual(answer, { cniVersion: "0.4.0", supportedVersions: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] });
});
