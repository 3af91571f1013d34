/** The chart as Helm renders it: HELM names the program, else it is looked for in PATH. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { BACKENDS } from "../../backends/registry.ts";
import { resolveNetwork } from "../../lib/backend/network.ts";
import { parseCommandLine } from "../../lib/options/parse.ts";

const FOLDER = fileURLToPath(new URL("../../packaging/kubernetes/", import.meta.url));
const HELM = Deno.env.get("HELM") ?? "helm";

interface Rendered {
  readonly kind: string;
  readonly data?: Record<string, string>;
  // deno-lint-ignore no-explicit-any -- manifests have no types here
  readonly spec?: any;
  readonly rules?: unknown;
}

function helm(...args: string[]): { success: boolean; stdout: string; stderr: string } {
  const { success, stdout, stderr } = new Deno.Command(HELM, { args }).outputSync();
  return { success, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

function hasHelm(): boolean {
  try {
    return helm("version").success;
  } catch {
    return false;
  }
}

function chartTest(name: string, body: () => Promise<void>): void {
  const ignore = !hasHelm();
  Deno.test({ name: `kube chart: ${name}${ignore ? " (needs helm)" : ""}`, ignore, fn: body });
}

/** What a release with these values is made of. @throws {Error} With what Helm says. */
function render(values: { readonly flannel?: object } & Readonly<Record<string, unknown>> = {}): Rendered[] {
  const file = Deno.makeTempFileSync({ suffix: ".json" });
  try {
    Deno.writeTextFileSync(file, JSON.stringify(values));
    const { success, stdout, stderr } = helm(
      ...["template", "release", `${FOLDER}helm/flannel`, "--namespace=kube-flannel"],
      ...["--kube-version=1.30.0", `--values=${file}`],
    );
    if (!success) throw new Error(stderr);
    return parseAllDocuments(stdout).map((one) => one.toJS() as Rendered).filter(Boolean);
  } finally {
    Deno.removeSync(file);
  }
}

const find = (rendered: readonly Rendered[], kind: string) => rendered.find((one) => one.kind === kind)!;

async function network(values: Parameters<typeof render>[0]) {
  const resolved = await resolveNetwork(find(render(values), "ConfigMap").data!["net-conf.json"]!, BACKENDS);
  assert.deepEqual(resolved.warnings, [], JSON.stringify(values));
  return resolved.config;
}

chartTest("the default values give what the manifest has", async () => {
  const text = await Deno.readTextFile(`${FOLDER}kube-flannel.yml`);
  const manifest = parseAllDocuments(text).map((one) => one.toJS() as Rendered);
  const rendered = render();
  const pods = [manifest, rendered].map((all) => find(all, "DaemonSet").spec.template.spec);
  for (
    const [own, chart] of [[pods[0].containers[0], pods[1].containers[0]], [
      pods[0].initContainers[0],
      pods[1].initContainers[0],
    ]]
  ) {
    assert.deepEqual([...chart.args].sort(), [...own.args].sort());
    assert.deepEqual(chart.securityContext, own.securityContext);
    assert.deepEqual(chart.volumeMounts, own.volumeMounts);
    assert.doesNotThrow(() => parseCommandLine(chart.args, {}, BACKENDS.options));
  }
  assert.deepEqual(pods[1].volumes, pods[0].volumes);
  assert.deepEqual(find(rendered, "ClusterRole").rules, find(manifest, "ClusterRole").rules);
  const data = [manifest, rendered].map((all) => find(all, "ConfigMap").data!);
  assert.deepEqual(JSON.parse(data[1]!["cni-conf.json"]!), JSON.parse(data[0]!["cni-conf.json"]!));
});

chartTest("every backend's values are parameters that it takes", async () => {
  for (
    const [flannel, backend] of [
      [{ vni: 7, backendPort: 4789, mtu: 1400, directRouting: true, GBP: true }, {
        ...{ Type: "vxlan", VNI: 7, Port: 4789, MTU: 1400, DirectRouting: true, GBP: true },
      }],
      [
        {
          backend: "wireguard",
          backendPort: 51999,
          mtu: 1400,
          psk: `${"A".repeat(43)}=`,
          tunnelMode: "auto",
        },
        {
          ...{ Type: "wireguard", ListenPort: 51999, MTU: 1400, PSK: `${"A".repeat(43)}=`, Mode: "auto" },
        },
      ],
      [{ backend: "wireguard", backendPortv6: 7, keepaliveInterval: 25 }, {
        ...{ Type: "wireguard", ListenPortV6: 7, PersistentKeepaliveInterval: 25, Mode: "separate" },
      }],
      [{ backend: "udp", backendPort: 9000, vni: 3 }, { Type: "udp", Port: 9000 }],
      [{ backend: "host-gw", mtu: 1400 }, { Type: "host-gw", MTU: 1400 }],
      [{ backend: "ipip", directRouting: true, mtu: 1400 }, { Type: "ipip", DirectRouting: true }],
      [{ backend: "alloc" }, { Type: "alloc" }],
      [{ backendParameters: { Learning: true, VNI: 9 } }, { Type: "vxlan", VNI: 9, Learning: true }],
    ] as const
  ) {
    const { type, options } = (await network({ flannel })).backend;
    const { Type, ...wanted } = backend as { Type: string };
    assert.deepEqual([type, options], [Type, wanted]);
  }
});

chartTest("each family can be off, and one must be on", async () => {
  const families = async (values: object) =>
    (await network(values as { readonly [key: string]: unknown })).families.map(({ family }) => family.name);
  const podCidrv6 = "fd00:10::/56";
  assert.deepEqual(await families({}), ["ipv4"]);
  assert.deepEqual(await families({ podCidrv6 }), ["ipv4", "ipv6"]);
  assert.deepEqual(await families({ podCidrv6, podCidr: "" }), ["ipv6"]);
  assert.throws(() => render({ podCidr: "" }), /podCidr/);
});

chartTest("values that the schema doesn't allow are refused by name", () => {
  for (
    const [values, name] of [
      [{ flannel: { backend: "vxlam" } }, /flannel\.backend/],
      [{ flannel: { vni: 0 } }, /vni/],
      [{ flannel: { psk: "short" } }, /psk/],
      [{ flannel: { backendPort: 70_000 } }, /backendPort/],
      [{ flannel: { unknown: 1 } }, /unknown/],
      [{ flannel: { args: ["iface=eth0"] } }, /args/],
      [{ podCidr: "10.244.0.0" }, /podCidr/],
    ] as const
  ) assert.throws(() => render(values), name, JSON.stringify(values));
  return Promise.resolve();
});

chartTest("pull secrets, selectors and an absent global", () => {
  const secret = render({ global: { imagePullSecrets: [{ name: "s" }] } });
  assert.match(JSON.stringify(find(secret, "ServiceAccount")), /"imagePullSecrets":\[{"name":"s"}\]/);
  const { nodeSelector } =
    find(render({ flannel: { nodeSelector: { a: "b" } } }), "DaemonSet").spec.template.spec;
  assert.deepEqual(nodeSelector, { a: "b" });
  // Helm takes a null in values for "this key isn't there".
  assert.ok(find(render({ global: null }), "ServiceAccount"));
  return Promise.resolve();
});
