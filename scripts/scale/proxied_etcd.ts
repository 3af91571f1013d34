/**
 * Three members of etcd with etcd's own grpc-proxy before them: hosts connect to the proxies, which make one watch of
 * all of theirs.
 *
 * @module
 */
import { EtcdCluster } from "../lab/etcd_cluster.ts";
import { delay, run } from "../lab/process.ts";
import type { LabStore, StorePlace } from "../lab/store.ts";

const PROXIES = 2;
const FIRST_PORT = 23790;
const START_LIMIT_MS = 10_000;

/** See the module's text. */
export class ProxiedEtcd implements LabStore {
  readonly kind = "etcd";
  readonly #proxies: readonly Deno.ChildProcess[];

  private constructor(
    readonly cluster: EtcdCluster,
    readonly endpoints: readonly string[],
    place: StorePlace,
  ) {
    const members = cluster.members.map(({ address }) => `http://${address}:2379`).join(",");
    this.#proxies = endpoints.map((endpoint, index) => {
      const address = endpoint.replace("http://", "");
      const command = [
        ...["etcd", "grpc-proxy", "start", "--endpoints", members],
        ...["--listen-addr", address, "--advertise-client-url", address],
      ];
      // Into a file: where nobody reads its log, a program in Go ends (SIGPIPE).
      const log = `${place.folder}/proxy${index}.log`;
      const child = place.middle.spawn(["sh", "-c", `exec "$@" >>${log} 2>&1`, "sh", ...command]);
      void child.stdout.cancel();
      void child.stderr.cancel();
      return child;
    });
  }

  /** Starts all of them, and waits until each proxy answers. */
  static async start(place: StorePlace): Promise<ProxiedEtcd> {
    const cluster = await EtcdCluster.start(place);
    const endpoints = Array.from({ length: PROXIES }, (_, i) => `http://${place.address}:${FIRST_PORT + i}`);
    const proxied = new ProxiedEtcd(cluster, endpoints, place);
    for (const endpoint of endpoints) await answers(place, endpoint);
    return proxied;
  }

  /** Process ids of members and proxies. */
  get pids(): { readonly members: readonly number[]; readonly proxies: readonly number[] } {
    return { members: this.cluster.pids, proxies: this.#proxies.map(({ pid }) => pid) };
  }

  get args(): readonly string[] {
    return [`-etcd-endpoints=${this.endpoints.join(",")}`];
  }

  writeConfig(text: string): Promise<void> {
    return this.cluster.writeConfig(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#proxies) child.kill("SIGKILL");
    await Promise.all(this.#proxies.map((child) => child.status));
    await this.cluster[Symbol.asyncDispose]();
  }
}

async function answers(place: StorePlace, endpoint: string): Promise<void> {
  const end = performance.now() + START_LIMIT_MS;
  const command = ["env", "ETCDCTL_API=3", "etcdctl", "--endpoints", endpoint, "get", "none"];
  while ((await run([...place.middle.enter, ...command], { mayFail: true })).code !== 0) {
    if (performance.now() > end) throw new Error(`The grpc-proxy at ${endpoint} doesn't answer`);
    await delay(200);
  }
}
