import assert from "node:assert/strict";
import { parseAllDocuments } from "yaml";
import { BACKENDS } from "../../backends/registry.ts";
import { parseNetworkConfig } from "../../lib/config/network_config.ts";
import { parseCommandLine } from "../../lib/options/parse.ts";

const FOLDER = new URL("../../packaging/kubernetes/", import.meta.url);

interface Container {
  readonly args: string[];
  readonly securityContext: { readonly readOnlyRootFilesystem: boolean; readonly capabilities: object };
  readonly volumeMounts: readonly { readonly name: string }[];
}

interface Rule {
  readonly resources: string[];
  readonly verbs: string[];
}

interface Manifest {
  readonly kind: string;
  readonly rules: Rule[];
  readonly data: Record<string, string>;
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: Container[];
        readonly initContainers: Container[];
        readonly volumes: { readonly name: string }[];
      };
    };
  };
}

async function manifest(kind: string): Promise<Manifest> {
  const text = await Deno.readTextFile(new URL("kube-flannel.yml", FOLDER));
  const all = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  return all.find((one) => one.kind === kind)!;
}

/** All that the client asks for with NODE_NAME set: a wider right is one too many, a narrower one a host that waits. */
const RIGHTS: readonly Rule[] = [
  { resources: ["nodes"], verbs: ["get", "list", "watch"] },
  { resources: ["nodes/status"], verbs: ["patch"] },
];

Deno.test("kube manifest: every option is one that flanneld knows", async () => {
  const { containers, initContainers } = (await manifest("DaemonSet")).spec.template.spec;
  for (const { args } of [...containers, ...initContainers]) {
    assert.doesNotThrow(() => parseCommandLine(args, {}, BACKENDS.options), args.join(" "));
  }
  assert.equal(parseCommandLine(containers[0]!.args, {}, BACKENDS.options).options.kubeSubnetMgr, true);
});

Deno.test("kube manifest: the ClusterRole has what the client asks for, and no more; the chart's is the same", async () => {
  const { rules } = await manifest("ClusterRole");
  assert.deepEqual(rules.map(({ resources, verbs }) => ({ resources, verbs })), RIGHTS);
  const own = await Deno.readTextFile(new URL("kube-flannel.yml", FOLDER));
  const chart = await Deno.readTextFile(new URL("helm/flannel/templates/rbac.yaml", FOLDER));
  const rulesOf = (text: string) => /^rules:\n((?: {2}.*\n)+)/m.exec(text)?.[1];
  assert.ok(rulesOf(own));
  assert.equal(rulesOf(chart), rulesOf(own));
});

Deno.test("kube manifest: its network config and CNI configuration can be read", async () => {
  const { data } = await manifest("ConfigMap");
  assert.equal(parseNetworkConfig(data["net-conf.json"]!).backend.type, "vxlan");
  assert.equal(JSON.parse(data["cni-conf.json"]!).plugins[0].type, "flannel");
});

Deno.test("kube manifest: containers have the narrowest rights, and every mount its volume", async () => {
  const { containers, initContainers, volumes } = (await manifest("DaemonSet")).spec.template.spec;
  assert.deepEqual(
    containers[0]!.securityContext.capabilities,
    { drop: ["ALL"], add: ["NET_ADMIN", "NET_RAW"] },
  );
  assert.deepEqual(initContainers[0]!.securityContext.capabilities, { drop: ["ALL"] });
  const names = volumes.map(({ name }) => name);
  for (const { securityContext, volumeMounts } of [...containers, ...initContainers]) {
    assert.equal(securityContext.readOnlyRootFilesystem, true);
    for (const { name } of volumeMounts) assert.ok(names.includes(name), name);
  }
});

Deno.test("kube chart: its values are those of its schema", async () => {
  const values = parseAllDocuments(await Deno.readTextFile(new URL("helm/flannel/values.yaml", FOLDER)))[0]!
    .toJS() as { flannel: object };
  const schema = JSON.parse(await Deno.readTextFile(new URL("helm/flannel/values.schema.json", FOLDER)));
  assert.deepEqual(Object.keys(values).sort(), Object.keys(schema.properties).sort());
  const known = Object.keys(schema.properties.flannel.properties);
  assert.deepEqual(Object.keys(values.flannel).sort(), known.sort());
});
