/** The image's file system as a DaemonSet's Pod has it: read-only, two capabilities, the manifest's mounts. */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { parseAllDocuments } from "yaml";
import { targetOf } from "../../scripts/build/runtime.ts";
import { debianFiles, programFiles } from "../../scripts/image/root.ts";
import { run } from "../../scripts/lab/process.ts";
import { builtBinary, useCommand } from "./built_binary.ts";
import { kubeTest } from "./kube_lab.ts";

const MANIFEST = new URL("../../packaging/kubernetes/kube-flannel.yml", import.meta.url);

/** What makes the file system, and what starts a program in it with fewer rights. */
const MISSING = ["mmdebstrap", "capsh"].filter((program) =>
  !new Deno.Command("sh", { args: ["-c", `command -v ${program}`], stdout: "null" }).outputSync().success
);

async function makeRoot(scratch: string): Promise<string> {
  const target = targetOf(Deno.build.arch), root = `${scratch}/root`;
  await Deno.mkdir(root);
  for (
    const layer of [
      (await debianFiles(target, scratch)).folder,
      await programFiles(await builtBinary(), target, scratch),
    ]
  ) await run(["cp", "-a", `${layer}/.`, root]);
  return root;
}

interface Mount {
  readonly from: string;
  readonly to: string;
  readonly isReadOnly?: boolean;
}

/** A program that runs its arguments in the image as a container runtime does. It becomes what it runs. */
async function writePod(path: string, root: string, mounts: readonly Mount[], keep: readonly string[]) {
  const kept = keep.map((name) => `cap_${name.toLowerCase()}`).join("|") || "none";
  const binds = mounts.map(({ from, to, isReadOnly }) =>
    `if [ -d '${from}' ]; then mkdir -p "$r${to}"; else : >>"$r${to}"; fi; mount --bind '${from}' "$r${to}"` +
    (isReadOnly ? `; mount -o remount,bind,ro "$r${to}"` : "")
  );
  const script = `#!/bin/sh
if [ "$1" != inside ]; then exec unshare --mount "$0" inside "$@"; fi
shift; set -e; r="${root}.$$"; mkdir "$r"
mount --bind '${root}' "$r"; mount -o remount,bind,ro "$r"
mount -t tmpfs tmpfs "$r/run"; mount -t tmpfs tmpfs "$r/var/run"; mount -t tmpfs tmpfs "$r/dev"
mount -t proc proc "$r/proc"; mount --rbind /sys "$r/sys"
for d in null zero random urandom; do : >"$r/dev/$d"; mount --bind /dev/$d "$r/dev/$d"; done
${binds.join("\n")}
drop=$(capsh --print | sed -n 's/^Bounding set =//p' | tr , '\\n' | grep -Ev '^(${kept})$' | paste -sd,)
export PATH=/usr/sbin:/usr/bin
exec ${"$(PATH=$PATH:/sbin command -v capsh)"} --no-new-privs --chroot="$r" --drop="$drop" --shell=/usr/bin/sh -- \\
  -c 'exec /usr/bin/flanneld "$@"' flanneld "$@"
`;
  await Deno.writeTextFile(path, script, { mode: 0o755 });
}

kubeTest(
  `kube image: the daemon and cni install run as the manifest's Pod${
    MISSING.length > 0 ? ` (needs ${MISSING})` : ""
  }`,
  { hosts: 2 },
  async ({ lab, kube, start }) => {
    if (MISSING.length > 0) return;
    const root = await makeRoot(lab.folder);
    const documents = parseAllDocuments(await Deno.readTextFile(MANIFEST)).map((one) => one.toJS());
    const { spec } = documents.find(({ kind }) => kind === "DaemonSet").spec.template;
    const [main] = spec.containers, [init] = spec.initContainers;
    const config = documents.find(({ kind }) => kind === "ConfigMap").data;
    const folder = (name: string) => `${lab.folder}/${name}`;
    for (const name of ["cfg", "secrets", "bin", "net.d"]) await Deno.mkdir(folder(name));
    const files = dirname(kube.kubeconfig);
    await Deno.copyFile(`${files}/net-conf.json`, folder("cfg/net-conf.json"));
    await Deno.writeTextFile(folder("cfg/cni-conf.json"), config["cni-conf.json"]);
    await Deno.copyFile(`${files}/ca.crt`, folder("secrets/ca.crt"));
    await Deno.writeTextFile(folder("secrets/token"), "flannel");
    await Deno.writeTextFile(folder("xtables.lock"), "");
    const cfg = { from: folder("cfg"), to: "/etc/kube-flannel", isReadOnly: true };

    const places = [{ from: folder("bin"), to: "/opt/cni/bin" }, {
      from: folder("net.d"),
      to: "/etc/cni/net.d",
    }];
    await writePod(folder("init"), root, [cfg, ...places], []);
    await lab.host(1).exec([folder("init"), ...init.args]);
    assert.deepEqual(JSON.parse(await Deno.readTextFile(folder("net.d/10-flannel.conflist"))).name, "cbr0");
    const version = await lab.host(1).exec([
      ...["env", "CNI_COMMAND=VERSION", `FLANNELD_CACHE_DIR=${folder("cache")}`, folder("bin/flannel")],
    ], { input: "{}" });
    assert.match(version.stdout, /supportedVersions/);

    const server = /server: (\S+)/.exec(await Deno.readTextFile(kube.kubeconfig))![1]!;
    const { hostname, port } = new URL(server);
    for (const host of lab.hosts) {
      await Deno.mkdir(host.folder, { recursive: true });
      await writePod(`${host.folder}/pod`, root, [
        { ...cfg },
        { from: host.folder, to: "/run/flannel" },
        { from: folder("xtables.lock"), to: "/run/xtables.lock" },
        { from: folder("secrets"), to: "/var/run/secrets/kubernetes.io/serviceaccount", isReadOnly: true },
      ], main.securityContext.capabilities.add);
      using _command = useCommand(`${host.folder}/pod`);
      start(host.number, {
        env: { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port },
        args: [
          ...main.args,
          ...["-kubeconfig-file=", "-net-config-path=/etc/kube-flannel/net-conf.json"],
          ...["-subnet-file=/run/flannel/subnet.env", "-healthz-port=8080"],
        ],
      });
    }
    await Promise.all(lab.hosts.map((host) => host.waitReady()));
    await lab.connect();
    await lab.pingAll();
    const rules = await lab.host(1).exec(["iptables-save", "-t", "nat"]);
    assert.match(rules.stdout, /FLANNEL-POSTRTG/);
    const { code, milliseconds } = await lab.host(1).daemon.stop();
    assert.equal(code, 0);
    assert.ok(milliseconds < 1_000, `${milliseconds} ms`);
    assert.doesNotMatch(lab.host(2).daemon.log, /WARN|error:/i);
  },
);
