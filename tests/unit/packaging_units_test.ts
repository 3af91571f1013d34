import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { fillTemplate, foldersBelow } from "../../scripts/install/layout.ts";

const PACKAGING = fileURLToPath(new URL("../../packaging", import.meta.url));
const UNITS = ["flanneld.service", "flanneld-docker-opts.service"] as const;

async function unit(name: (typeof UNITS)[number]): Promise<string> {
  return await Deno.readTextFile(`${PACKAGING}/systemd/${name}`);
}

/** The values of a setting, in their order. */
function values(text: string, setting: string): string[] {
  const lines = text.split("\n").filter((line) => line.startsWith(`${setting}=`));
  return lines.flatMap((line) => line.slice(setting.length + 1).split(" "));
}

function hasSystemdAnalyze(): boolean {
  try {
    const args = ["security", "--help"];
    return new Deno.Command("systemd-analyze", { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** Runs systemd-analyze on the units, as they would be installed, with programs in their places. */
async function analyze(...args: string[]): Promise<{ code: number; said: string }> {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-units-" });
  try {
    const folders = { ...foldersBelow("/usr"), sbin: folder, libexec: folder };
    for (const name of ["flanneld", "mk-docker-opts.sh"]) {
      await Deno.writeTextFile(`${folder}/${name}`, "#!/bin/sh\n", { mode: 0o755 });
    }
    for (const name of UNITS) {
      await Deno.writeTextFile(`${folder}/${name}`, fillTemplate(await unit(name), folders));
    }
    const paths = UNITS.map((name) => `${folder}/${name}`);
    const { code, stdout, stderr } = await new Deno.Command("systemd-analyze", {
      args: [...args, ...paths],
      env: { SYSTEMD_COLORS: "0", SYSTEMD_PAGER: "cat", LC_ALL: "C" },
    }).output();
    return { code, said: new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("units: flanneld comes after the network and etcd, and before Docker and containerd", async () => {
  const text = await unit("flanneld.service");
  assert.deepEqual(values(text, "After"), ["network-online.target", "etcd.service"]);
  for (const later of ["docker.service", "containerd.service"]) {
    assert.ok(values(text, "Before").includes(later));
  }
  assert.deepEqual(values(text, "Type"), ["notify"]);
  assert.deepEqual(values(text, "Restart"), ["always"]);
  const options = await unit("flanneld-docker-opts.service");
  assert.ok(values(options, "After").includes("flanneld.service"));
  assert.ok(values(options, "Before").includes("docker.service"));
});

Deno.test("units: the subnet file's folder outlives a restart, and the engine may compile", async () => {
  const text = await unit("flanneld.service");
  assert.deepEqual(values(text, "RuntimeDirectory"), ["flannel"]);
  assert.deepEqual(values(text, "RuntimeDirectoryPreserve"), ["yes"]);
  assert.deepEqual(values(text, "MemoryDenyWriteExecute"), []);
});

Deno.test("units: below no known prefix they go where systemd looks, and no placeholder is left", async () => {
  assert.equal(foldersBelow("/opt/flannel").units, "/etc/systemd/system");
  assert.equal(foldersBelow("/usr/local").units, "/usr/local/lib/systemd/system");
  assert.throws(() => foldersBelow("usr"), /PREFIX=usr: must be an absolute path/);
  for (const name of UNITS) {
    assert.doesNotMatch(fillTemplate(await unit(name), foldersBelow("/usr")), /@[A-Z]+@/);
  }
});

Deno.test({
  name: "units: systemd-analyze verify has nothing to say (needs systemd-analyze)",
  ignore: !hasSystemdAnalyze(),
  fn: async () => {
    const { code, said } = await analyze("verify");
    assert.equal(code, 0, said);
    // It also names units of the host that aren't there, etcd.service for example: only lines about ours count.
    assert.doesNotMatch(said, /flanneld.*:\d+:|Unknown|Invalid|bad unit/i);
  },
});

Deno.test({
  name: "units: systemd-analyze security rates their exposure as OK or better (needs systemd-analyze)",
  ignore: !hasSystemdAnalyze(),
  fn: async () => {
    const { code, said } = await analyze("security", "--offline=true", "--no-pager", "--threshold=40");
    assert.equal(code, 0, said.split("\n").filter((line) => line.includes("Overall")).join("\n"));
  },
});

Deno.test("examples: the CNI list is JSON and reads the subnet file; the Docker drop-in reads the options", async () => {
  const list = JSON.parse(await Deno.readTextFile(`${PACKAGING}/examples/containerd/10-flannel.conflist`));
  assert.equal(list.plugins[0].type, "flannel");
  assert.equal(list.plugins[0].subnetFile, "/run/flannel/subnet.env");
  const dropIn = await Deno.readTextFile(`${PACKAGING}/examples/docker/flannel.conf`);
  const options = await unit("flanneld-docker-opts.service");
  const written = / -d (\S+)/.exec(options)?.[1];
  assert.deepEqual(values(dropIn, "EnvironmentFile"), [`-${written}`]);
  // It named /usr/bin/dockerd, which Debian doesn't have; the first ExecStart takes the unit's own away.
  assert.deepEqual(values(dropIn, "ExecStart").slice(0, 2), ["", "dockerd"]);
});
