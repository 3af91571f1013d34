/**
 * Labs whose hosts are the nodes of a cluster: a fake API server on the switch, a Node for each host.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { JsonObject } from "../../lib/config/types.ts";
import type { FamilyName } from "../../lib/net/family.ts";
import { makeCertificates } from "../../scripts/lab/certificates.ts";
import type { StartOptions } from "../../scripts/lab/host.ts";
import { Lab, networkConfig } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";
import type { LabStore, StorePlace } from "../../scripts/lab/store.ts";
import type { Command } from "../fakes/kube/main.ts";
import { FLANNEL_PREFIX, type KubeObject } from "../fakes/kube/objects.ts";
import type { LoggedRequest } from "../fakes/kube/server.ts";
import { IS_ROOT } from "./lab_test_case.ts";

const SERVER = fileURLToPath(new URL("../fakes/kube/main.ts", import.meta.url));

/** Prefix of flannel's annotations. */
export const PREFIX = FLANNEL_PREFIX;

/** A Node as the API has it, as far as tests look. */
export type NodeObject = KubeObject & {
  spec?: { podCIDR?: string; podCIDRs?: string[] };
  status?: { conditions?: { type: string; status: string; reason: string }[] };
};

/** The API server of a lab. */
export class KubeServer {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** A kubeconfig of flannel's service account, and one that may do everything. */
  get kubeconfig(): string {
    return `${this.#folder}/flannel.kubeconfig`;
  }

  get adminKubeconfig(): string {
    return `${this.#folder}/admin.kubeconfig`;
  }

  /** Carries out a command of the server's control. @throws {Error} What it says went wrong. */
  async call<T = unknown>(...command: Command): Promise<T> {
    using connection = await Deno.connect({ transport: "unix", path: `${this.#folder}/control.sock` });
    await connection.write(new TextEncoder().encode(`${JSON.stringify(command)}\n`));
    let text = "";
    for await (const part of connection.readable.pipeThrough(new TextDecoderStream())) {
      text += part;
      if (text.endsWith("\n")) break;
    }
    const { value, error } = JSON.parse(text) as { value?: T; error?: string };
    if (error !== undefined) throw new Error(`the fake API server: ${error}`);
    return value as T;
  }

  node(name: string): Promise<NodeObject> {
    return this.call<NodeObject>("get", "nodes", name);
  }

  /** Writes a changed Node; the daemon may write it at the same time, and the one that comes second asks again. */
  async changeNode(name: string, change: (node: NodeObject) => NodeObject): Promise<void> {
    for (let attempt = 1;; attempt++) {
      try {
        return await this.call("update", "nodes", change(await this.node(name)));
      } catch (error) {
        if (attempt === 5 || !/has been modified/.test(String(error))) throw error;
      }
    }
  }

  /** The Node's annotations of flannel's, without the prefix. */
  async annotations(name: string): Promise<Record<string, string>> {
    const { metadata } = await this.node(name);
    const ours = Object.entries(metadata.annotations ?? {}).filter(([key]) => key.startsWith(PREFIX));
    return Object.fromEntries(ours.map(([key, value]) => [key.slice(PREFIX.length), value]));
  }

  /** The requests since the last call. */
  requests(): Promise<LoggedRequest[]> {
    return this.call<LoggedRequest[]>("requests");
  }
}

/** What a lab of nodes is to be. */
export interface KubeLabOptions {
  readonly hosts?: number;
  readonly families?: readonly FamilyName[];
  readonly backend?: JsonObject;
  /** The network config in the place of that of the families and the backend. */
  readonly config?: JsonObject;
  /** The API server speaks HTTP/1.1 only, as behind some proxies. */
  readonly http1Only?: boolean;
  /** A program that the test needs is missing: it is skipped, and its name says which. */
  readonly ignore?: boolean;
}

/** The lab, and its API server. */
export interface KubeLab {
  readonly lab: Lab;
  readonly kube: KubeServer;
  /** Starts the daemon of host N as the Node `nodeN`. */
  start(number: number, options?: StartOptions): void;
  /** Starts all and waits until they are ready. */
  startAll(options?: StartOptions): Promise<void>;
}

/** A Node object with a subnet of each family. */
export function nodeObject(number: number, families: readonly FamilyName[] = ["ipv4"]): NodeObject {
  const cidrs = [
    ...families.includes("ipv4") ? [`10.5.${number}.0/24`] : [],
    ...families.includes("ipv6") ? [`fc00:0:0:${number}::/64`] : [],
  ];
  return {
    metadata: { name: `node${number}`, annotations: { "node.alpha.kubernetes.io/ttl": "0" } },
    spec: { podCIDR: cidrs[0]!, podCIDRs: cidrs },
    status: { conditions: [] },
  };
}

/** Registers a test with a lab of nodes. Without root it is skipped, and its name says why. */
export function kubeTest(name: string, options: KubeLabOptions, body: (lab: KubeLab) => Promise<void>): void {
  Deno.test({
    name: `${name} (needs root)`,
    ignore: !IS_ROOT || options.ignore === true,
    fn: () => withKubeLab(options, body),
  });
}

/** Makes a lab of nodes for the time of `body`. */
export async function withKubeLab(
  options: KubeLabOptions,
  body: (lab: KubeLab) => Promise<void>,
): Promise<void> {
  const { hosts = 3, families = ["ipv4"], backend = { Type: "vxlan" } } = options;
  let folder = "";
  await using lab = await Lab.create({
    ...{ hosts, families },
    config: options.config ?? networkConfig(families, backend),
    store: (place) => {
      folder = `${place.folder}/kube`;
      return startServer(place, folder, options.http1Only ? ["http1"] : []);
    },
  });
  const kube = new KubeServer(folder);
  for (const host of lab.hosts) await kube.call("create", "nodes", nodeObject(host.number, families));
  const start = (number: number, more: StartOptions = {}) =>
    void lab.host(number).start({ ...more, env: { NODE_NAME: `node${number}`, ...more.env } });
  const startAll = async (more: StartOptions = {}) => {
    for (const { number } of lab.hosts) start(number, more);
    await Promise.all(lab.hosts.map((host) => host.waitReady()));
  };
  try {
    await body({ lab, kube, start, startAll });
  } catch (error) {
    console.error(lab.logs());
    throw error;
  }
}

async function startServer(
  { middle, address }: StorePlace,
  folder: string,
  args: readonly string[],
): Promise<LabStore> {
  await Deno.mkdir(folder);
  const files = await makeCertificates(folder, {
    addresses: [address.includes(":") ? "127.0.0.1" : address],
  });
  for (
    const [from, to] of [[files.serverKey, "server.key"], [files.serverCert, "server.crt"], [
      files.ca,
      "ca.crt",
    ]]
  ) {
    if (from !== `${folder}/${to}`) await Deno.copyFile(from!, `${folder}/${to}`);
  }
  const child = middle.spawn([Deno.execPath(), "run", "-A", SERVER, address, folder, ...args]);
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value } = await reader.read();
  if (!value?.includes("ready")) throw new Error("the fake API server didn't start");
  void reader.cancel();
  void child.stderr.cancel();
  const port = await new KubeServer(folder).call<number>("port");
  for (const user of ["flannel", "admin"]) {
    await Deno.writeTextFile(`${folder}/${user}.kubeconfig`, kubeconfig(address, port, user));
  }
  const netConfig = `${folder}/net-conf.json`;
  return {
    kind: "etcd",
    args: [
      "-kube-subnet-mgr",
      `-kubeconfig-file=${folder}/flannel.kubeconfig`,
      `-net-config-path=${netConfig}`,
    ],
    writeConfig: (text) => Deno.writeTextFile(netConfig, text),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function kubeconfig(address: string, port: number, token: string): string {
  const isIpv6 = address.includes(":");
  const host = isIpv6 ? `[${address}]` : address;
  const trust = isIpv6
    ? "insecure-skip-tls-verify: true"
    : "certificate-authority: ca.crt\n    tls-server-name: localhost";
  return `apiVersion: v1
kind: Config
current-context: lab
contexts: [{ name: lab, context: { cluster: lab, user: lab } }]
clusters:
- name: lab
  cluster:
    server: https://${host}:${port}
    ${trust}
users: [{ name: lab, user: { token: ${token} } }]
`;
}

/** Waits for something of a Node. */
export async function untilNode(
  kube: KubeServer,
  name: string,
  what: string,
  is: (node: NodeObject) => boolean,
) {
  await until(`${name}: ${what}`, async () => is(await kube.node(name)), 10_000);
}
