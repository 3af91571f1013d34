/** The image in podman and in containerd as the DaemonSet's Pod, and containers of both through the CNI plugin. */
import assert from "node:assert/strict";
import { parseAllDocuments } from "yaml";
import { until } from "../../scripts/lab/process.ts";
import { SystemdHost } from "../../scripts/lab/systemd_host.ts";
import { systemdRoot, whyNoSystemdRoot } from "../../scripts/lab/systemd_root.ts";
import { type KubeLab, withKubeLab } from "../lab/kube_lab.ts";
import { makeImage } from "../lab/oci_pod.ts";
import { makeImage as makeBox, pingFromContainerd, runInContainerd, shareImage } from "./containers.ts";

const MANIFEST = new URL("../../packaging/kubernetes/kube-flannel.yml", import.meta.url);
const IMAGE = "localhost/flanneld:latest";
/** What the image starts. */
const PROGRAM = "/usr/bin/flanneld";
const BUSYBOX = "/usr/bin/busybox";
const PORT = 8088;

/** What the manifest says of a container, as far as a runtime takes it. */
interface Container {
  readonly args: readonly string[];
  readonly securityContext: { readonly capabilities: { readonly add?: readonly string[] } };
  readonly volumeMounts: readonly { name: string; mountPath: string; readOnly?: boolean }[];
}

interface Manifest {
  readonly init: Container;
  readonly main: Container;
  /** Folders of the host, by the volume's name. */
  readonly volumes: Readonly<Record<string, string>>;
  readonly cniConf: string;
}

async function readManifest(): Promise<Manifest> {
  const documents = parseAllDocuments(await Deno.readTextFile(MANIFEST)).map((one) => one.toJS());
  const { spec } = documents.find(({ kind }) => kind === "DaemonSet").spec.template;
  const volumes = spec.volumes.map((volume: { name: string; hostPath?: { path: string } }) => [
    volume.name,
    volume.hostPath?.path ?? "/srv/cfg",
  ]);
  return {
    init: spec.initContainers[0],
    main: spec.containers[0],
    volumes: Object.fromEntries(volumes),
    cniConf: documents.find(({ kind }) => kind === "ConfigMap").data["cni-conf.json"],
  };
}

/** A folder of the host in a container. */
type Bind = { from: string; to: string; mode: "ro" | "rw" };

function bindsOf({ volumeMounts }: Container, { volumes }: Manifest): Bind[] {
  const secrets = "/var/run/secrets/kubernetes.io/serviceaccount";
  return [
    ...volumeMounts.map(({ name, mountPath, readOnly }) => ({
      from: volumes[name]!,
      to: mountPath,
      mode: readOnly ? "ro" as const : "rw" as const,
    })),
    { from: "/srv/secrets", to: secrets, mode: "ro" },
  ];
}

interface Run {
  readonly container: Container;
  readonly binds: readonly Bind[];
  readonly env: readonly string[];
  /** Of one that goes on running; else it is waited for. */
  readonly name?: string;
}

/** podman, as far as the lab's cgroups allow: they have no controllers. */
const PODMAN = "podman --cgroup-manager=cgroupfs";

async function runInPodman(host: SystemdHost, { container, binds, env, name }: Run): Promise<void> {
  const options = [
    ...["--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"],
    ...(container.securityContext.capabilities.add ?? []).map((capability) => `--cap-add=${capability}`),
    ...binds.map(({ from, to, mode }) => `--volume=${from}:${to}:${mode}`),
    ...env.map((variable) => `--env=${variable}`),
    name === undefined ? "--rm" : `--detach --name=${name}`,
  ];
  await host.sh(`${PODMAN} run --pids-limit=-1 ${options.join(" ")} ${IMAGE} ${container.args.join(" ")}`);
}

/** What ctr gives to containers, and the manifest takes away. */
const CTR_DEFAULTS =
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE";

async function runInCtr(host: SystemdHost, { container, binds, env, name }: Run): Promise<void> {
  const added = container.securityContext.capabilities.add ?? [];
  const dropped = CTR_DEFAULTS.split(" ").filter((capability) => !added.includes(capability));
  const options = [
    ...["--net-host", "--read-only", "--seccomp", "--cpu-shares=0"],
    ...dropped.map((capability) => `--cap-drop=CAP_${capability}`),
    ...added.map((capability) => `--cap-add=CAP_${capability}`),
    ...binds.map(({ from, to, mode }) => `--mount=type=bind,src=${from},dst=${to},options=rbind:${mode}`),
    ...env.map((variable) => `--env=${variable}`),
    name === undefined ? "--rm" : `--detach --log-uri=file:///srv/flanneld.log`,
  ];
  // ctr puts arguments in the place of the entry point, the kubelet behind it.
  const words = [...options, IMAGE, name ?? "init", PROGRAM, ...container.args];
  await host.sh(
    `ctr -n k8s.io run ${words.join(" ")}`,
  );
}

/** What the kubelet would put on the node. */
async function provision(host: SystemdHost, { lab, kube }: KubeLab, manifest: Manifest): Promise<void> {
  const files = kube.kubeconfig.replace(/\/[^/]+$/, "");
  for (const folder of ["cfg", "secrets"]) await Deno.mkdir(`${host.shared}/${folder}`);
  await Deno.copyFile(`${files}/net-conf.json`, `${host.shared}/cfg/net-conf.json`);
  await Deno.writeTextFile(`${host.shared}/cfg/cni-conf.json`, manifest.cniConf);
  await Deno.copyFile(`${files}/ca.crt`, `${host.shared}/secrets/ca.crt`);
  await Deno.writeTextFile(`${host.shared}/secrets/token`, "flannel");
  await Deno.copyFile(`${lab.folder}/image.tar`, `${host.shared}/image.tar`);
  await host.sh("mkdir -p /run/flannel /etc/cni/net.d; touch /run/xtables.lock");
}

const why = whyNoSystemdRoot();
Deno.test({
  name: `kubernetes: the image runs in podman and in containerd, and containers of both reach each other${
    why === undefined ? "" : ` (${why})`
  }`,
  ignore: why !== undefined,
  fn: () => withKubeLab({ hosts: 2 }, checkImage),
});

async function checkImage(kubeLab: KubeLab): Promise<void> {
  const { lab, kube } = kubeLab;
  const root = await systemdRoot();
  await using one = new SystemdHost(lab.host(1), root);
  await using two = new SystemdHost(lab.host(2), root);
  const [manifest] = await Promise.all([
    readManifest(),
    makeImage(`${lab.folder}/image.tar`),
    one.boot(),
    two.boot(),
  ]);
  await Promise.all([one, two].map((host) => provision(host, kubeLab, manifest)));
  await Promise.all([
    one.sh(`${PODMAN} load -i /srv/image.tar`),
    two.sh("ctr -n k8s.io images import /srv/image.tar"),
  ]);
  const server = /server: (\S+)/.exec(await Deno.readTextFile(kube.kubeconfig))![1]!;
  const { hostname, port } = new URL(server);
  try {
    for (const [index, [host, start]] of ([[one, runInPodman], [two, runInCtr]] as const).entries()) {
      const run = (container: Container) => ({ container, binds: bindsOf(container, manifest) });
      await start(host, { ...run(manifest.init), env: [] });
      const env = [
        `NODE_NAME=node${index + 1}`,
        `KUBERNETES_SERVICE_HOST=${hostname}`,
        `KUBERNETES_SERVICE_PORT=${port}`,
      ];
      await start(host, { ...run(manifest.main), env, name: "flanneld" });
    }
    for (const host of [one, two]) {
      const probe = `${BUSYBOX} wget -q -O- http://127.0.0.1:8081/readyz`;
      await until(
        `${host.host.name} to be ready`,
        async () => (await host.exec(["sh", "-c", probe], { mayFail: true })).code === 0,
        30_000,
      );
    }
    await checkContainers(one, two);
  } catch (error) {
    const logs = [one.sh(`${PODMAN} logs flanneld 2>&1`), two.sh("cat /srv/flanneld.log")];
    console.error((await Promise.all(logs.map((log) => log.catch(String)))).join("\n--- two\n"));
    throw error;
  }
}

/** A container of podman with a mapped port, one of containerd, each on a host of its own. */
async function checkContainers(one: SystemdHost, two: SystemdHost): Promise<void> {
  await Promise.all([
    one.sh(`tar -c -C / ${BUSYBOX.slice(1)} | ${PODMAN} import - box`),
    makeBox(two).then(() => shareImage(two)),
  ]);
  const serve = `${BUSYBOX} httpd -f -p 80 -h /`;
  await one.sh(
    `${PODMAN} run --pids-limit=-1 --detach --name box --cap-add=NET_RAW --network=cbr0 --publish=${PORT}:80 box ${serve}`,
  );
  const shown = JSON.parse(await one.sh(`${PODMAN} inspect box`))[0].NetworkSettings.Networks.cbr0;
  const first = shown.IPAddress as string, second = await runInContainerd(two, "box");
  assert.match(first, /^10\.5\.1\./);
  assert.match(second, /^10\.5\.2\./);
  await until("a ping from two to one", () => pingFromContainerd(two, "box", first), 10_000);
  const ping = ["sh", "-c", `${PODMAN} exec box ${BUSYBOX} ping -c1 -W1 ${second}`];
  await until(
    "a ping from one to two",
    async () => (await one.exec(ping, { mayFail: true })).code === 0,
    10_000,
  );

  const size = await one.sh(`stat -c %s ${BUSYBOX}`);
  const fetch = (from: string) => `wget -q -O- http://${from}${BUSYBOX} | ${BUSYBOX} wc -c`;
  const inside = async (id: string, from: string) =>
    await two.sh(
      `ctr task exec --exec-id ${id} box ${BUSYBOX} sh -c "${BUSYBOX} ${fetch(from)}"`,
    );
  const mapped = `${one.host.addresses.ipv4}:${PORT}`;
  assert.equal(await inside("direct", first), size, "through the overlay");
  assert.equal(await inside("mapped", mapped), size, "a mapped port, from a container");
  assert.equal(await two.sh(`${BUSYBOX} ${fetch(mapped)}`), size, "a mapped port, from a host");
  await one.sh(`${PODMAN} rm --force --time=0 box`);
  assert.equal(await one.sh("ls /var/lib/cni/flannel"), "", "what the plugin kept for DEL");
}
