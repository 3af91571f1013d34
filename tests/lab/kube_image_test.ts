/** The image run by crun as a DaemonSet's Pod: read-only, two capabilities, the manifest's mounts. */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { parseAllDocuments } from "yaml";
import { useCommand } from "./built_binary.ts";
import { kubeTest } from "./kube_lab.ts";
import { hasCrun, makeImage, type Mount, unpackImage, writePod } from "./oci_pod.ts";
import { assertOrderly } from "./orderly_end.ts";

const MANIFEST = new URL("../../packaging/kubernetes/kube-flannel.yml", import.meta.url);

/** What makes the file system, and what runs it. */
const MISSING = [
  ...new Deno.Command("sh", { args: ["-c", "command -v mmdebstrap"], stdout: "null" }).outputSync().success
    ? []
    : ["mmdebstrap"],
  ...hasCrun() ? [] : ["crun"],
];

/** The manifest's Pod, and the image that it runs. */
interface Pod {
  readonly root: string;
  readonly entrypoint: readonly string[];
  readonly main: {
    readonly args: readonly string[];
    readonly securityContext: { capabilities: { add: string[] } };
  };
  readonly init: { readonly args: readonly string[] };
  readonly config: Readonly<Record<string, string>>;
}

/** Makes the image and reads the manifest. */
async function readPod(folder: (name: string) => string): Promise<Pod> {
  const root = folder("root");
  await makeImage(folder("image.tar"));
  const entrypoint = await unpackImage(folder("image.tar"), folder("layout"), root);
  const documents = parseAllDocuments(await Deno.readTextFile(MANIFEST)).map((one) => one.toJS());
  const { spec } = documents.find(({ kind }) => kind === "DaemonSet").spec.template;
  const config = documents.find(({ kind }) => kind === "ConfigMap").data;
  return { root, entrypoint, main: spec.containers[0], init: spec.initContainers[0], config };
}

/** Puts the files there that the cluster mounts into the Pod. @returns The mount of the config. */
async function layOut(folder: (name: string) => string, { config }: Pod, kubeconfig: string): Promise<Mount> {
  for (const name of ["cfg", "secrets", "bin", "net.d"]) await Deno.mkdir(folder(name));
  const files = dirname(kubeconfig);
  await Deno.copyFile(`${files}/net-conf.json`, folder("cfg/net-conf.json"));
  await Deno.writeTextFile(folder("cfg/cni-conf.json"), config["cni-conf.json"]!);
  await Deno.copyFile(`${files}/ca.crt`, folder("secrets/ca.crt"));
  await Deno.writeTextFile(folder("secrets/token"), "flannel");
  await Deno.writeTextFile(folder("xtables.lock"), "");
  return { from: folder("cfg"), to: "/etc/kube-flannel", isReadOnly: true };
}

kubeTest(
  `kube image: the daemon and cni install run as the manifest's Pod${
    MISSING.length > 0 ? ` (needs ${MISSING})` : ""
  }`,
  { hosts: 2, ignore: MISSING.length > 0 },
  async ({ lab, kube, start }) => {
    const folder = (name: string) => `${lab.folder}/${name}`;
    const pod = await readPod(folder);
    const { root, entrypoint, main, init } = pod;
    const cfg = await layOut(folder, pod, kube.kubeconfig);

    const places = [{ from: folder("bin"), to: "/opt/cni/bin" }, {
      from: folder("net.d"),
      to: "/etc/cni/net.d",
    }];
    await writePod(folder("init"), { root, entrypoint, mounts: [cfg, ...places], capabilities: [], env: [] });
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
      await writePod(`${host.folder}/pod`, {
        root,
        entrypoint,
        mounts: [
          cfg,
          { from: host.folder, to: "/run/flannel" },
          { from: folder("xtables.lock"), to: "/run/xtables.lock" },
          { from: folder("secrets"), to: "/var/run/secrets/kubernetes.io/serviceaccount", isReadOnly: true },
        ],
        capabilities: main.securityContext.capabilities.add,
        env: ["NODE_NAME", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"],
      });
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
    assertOrderly(lab.host(1).daemon, await lab.host(1).daemon.stop());
    assert.doesNotMatch(lab.host(2).daemon.log, /WARN|error:/i);
  },
);
