/**
 * An etcd of three members, each a host of its own on the lab's switch, so that one can be cut off from the others.
 *
 * @module
 */
import { Namespace } from "./namespace.ts";
import { type Finished, run, until } from "./process.ts";
import { type LabStore, PREFIX, type StorePlace } from "./store.ts";

const MEMBERS = 3;
const CLIENT_PORT = 2379, PEER_PORT = 2380;
/** How long the members may take to elect a leader, in milliseconds. */
const QUORUM_LIMIT = 60_000;

/** One member's place: its namespace, its address, and the switch's port that leads to it. */
interface Member {
  readonly name: string;
  readonly namespace: Namespace;
  readonly address: string;
  readonly port: string;
}

function clientUrl({ address }: Member): string {
  return `http://${address}:${CLIENT_PORT}`;
}

function peerUrl({ address }: Member): string {
  return `http://${address}:${PEER_PORT}`;
}

/** Three members. Their logs are in the lab's folder. */
export class EtcdCluster implements LabStore {
  readonly kind = "etcd";
  readonly #children = new Map<Member, Deno.ChildProcess>();
  /** Counts new beginnings: each has its own data folders and its own cluster id. */
  #generation = 0;

  private constructor(
    readonly members: readonly Member[],
    readonly folder: string,
    readonly middle: Namespace,
  ) {}

  /** Makes the members on the switch, below 172.30.0.241, and starts them. */
  static async start(place: StorePlace): Promise<EtcdCluster> {
    const members = Array.from({ length: MEMBERS }, (_, index): Member => ({
      name: `e${index + 1}`,
      namespace: new Namespace(`${place.prefix}e${index + 1}`, place.middle.children),
      address: `172.30.0.${241 + index}`,
      port: `pe${index + 1}`,
    }));
    const cluster = new EtcdCluster(members, `${place.folder}/etcd`, place.middle);
    await Deno.mkdir(cluster.folder);
    for (const member of members) await cluster.#wire(member);
    await cluster.startAll();
    return cluster;
  }

  get args(): readonly string[] {
    return [`-etcd-endpoints=${this.#endpoints}`];
  }

  /** Process ids of the members that run. */
  get pids(): readonly number[] {
    return Array.from(this.#children.values(), ({ pid }) => pid);
  }

  get #endpoints(): string {
    return this.members.map(clientUrl).join(",");
  }

  async #wire({ namespace, address, port }: Member): Promise<void> {
    await run(["ip", "netns", "add", namespace.name]);
    await this.middle.ip(
      `link add ${port} type veth peer name eth0 netns ${namespace.name}`,
      `link set ${port} master br0 up`,
    );
    await namespace.ip(
      "link set lo up",
      "link set eth0 up",
      `address add ${address}/24 dev eth0`,
      "route add default via 172.30.0.254",
    );
  }

  #dataFolder({ name }: Member): string {
    return `${this.folder}/${this.#generation}-${name}`;
  }

  /** What makes the members of this beginning know each other. */
  get #clusterArgs(): readonly string[] {
    const peers = this.members.map((member) => `${member.name}=${peerUrl(member)}`).join(",");
    return ["--initial-cluster", peers, "--initial-cluster-token", `lab-${this.#generation}`];
  }

  /** Starts every member that doesn't run, on its data, and waits until they answer. */
  async startAll(): Promise<void> {
    for (const member of this.members) {
      if (!this.#children.has(member)) this.#children.set(member, this.#spawn(member));
    }
    await this.#untilDone(
      "elect a leader",
      async () => void await this.ctl("get", "--consistency=l", "leader"),
    );
  }

  #spawn(member: Member): Deno.ChildProcess {
    const command = [
      ...["etcd", "--name", member.name, "--data-dir", this.#dataFolder(member), "--logger", "zap"],
      // As ./etcd.ts: slow disks don't count.
      "--unsafe-no-fsync",
      ...["--listen-client-urls", clientUrl(member), "--advertise-client-urls", clientUrl(member)],
      ...["--listen-peer-urls", peerUrl(member), "--initial-advertise-peer-urls", peerUrl(member)],
      ...this.#clusterArgs,
    ];
    const log = `${this.folder}/${member.name}.log`;
    const child = member.namespace.spawn(["sh", "-c", `exec "$@" >>${log} 2>&1`, "sh", ...command]);
    void child.stdout.cancel();
    void child.stderr.cancel();
    return child;
  }

  /** Ends every member at once, as a power cut would; the data stays. */
  async killAll(): Promise<void> {
    const children = [...this.#children.values()];
    this.#children.clear();
    for (const child of children) {
      try {
        child.kill("SIGKILL");
      } catch {
        // Ended already.
      }
    }
    await Promise.all(children.map((child) => child.status));
  }

  /** Ends all members and begins anew without any data. */
  async wipe(): Promise<void> {
    await this.killAll();
    this.#generation++;
    await this.startAll();
  }

  /** Saves the state to a file, for {@link restore}. */
  async save(file: string): Promise<void> {
    // A snapshot comes from one member.
    const from = clientUrl(this.members[0]!);
    await this.#untilDone("save", async () => void await this.#ctlAt(from, ["snapshot", "save", file]));
  }

  /** Ends all members and begins anew with a saved state. */
  async restore(file: string): Promise<void> {
    await this.killAll();
    this.#generation++;
    for (const member of this.members) {
      await this.#ctlAt(clientUrl(member), [
        ...["snapshot", "restore", file, "--name", member.name, "--data-dir", this.#dataFolder(member)],
        ...["--initial-advertise-peer-urls", peerUrl(member), ...this.#clusterArgs],
      ]);
    }
    await this.startAll();
  }

  /** Compacts all revisions but the newest. */
  async compact(): Promise<void> {
    await this.#untilDone("compact", async () => {
      const { revision } = JSON.parse(await this.ctl("get", "none", "--write-out=json")).header;
      await this.ctl("compact", `${revision}`).catch((error) => {
        // Nothing was written since the last time.
        if (!/has been compacted/.test(String(error))) throw error;
      });
    });
  }

  /** Tries again where a leader has just gone, or the machine is busy. */
  async #untilDone(what: string, body: () => Promise<void>): Promise<void> {
    await until(`etcd to ${what}`, async () => {
      await body();
      return true;
    }, QUORUM_LIMIT);
  }

  /** Runs etcdctl with all members as endpoints. @returns What it printed. @throws {Error} If it fails. */
  ctl(...args: string[]): Promise<string> {
    return this.#ctlAt(this.#endpoints, args);
  }

  /** As {@link ctl}, with these members alone, counted from 1. */
  ctlOf(numbers: readonly number[], ...args: string[]): Promise<string> {
    return this.#ctlAt(numbers.map((number) => clientUrl(this.members[number - 1]!)).join(), args);
  }

  async #ctlAt(endpoints: string, args: readonly string[], input?: string): Promise<string> {
    const command = [
      ...this.middle.enter,
      ...["env", "ETCDCTL_API=3", "etcdctl", "--endpoints", endpoints, "--command-timeout=3s", ...args],
    ];
    const { stdout }: Finished = await run(command, input === undefined ? {} : { input });
    return stdout;
  }

  async writeConfig(text: string): Promise<void> {
    const put = ["put", `${PREFIX}/config`];
    await this.#untilDone("take the config", async () => void await this.#ctlAt(this.#endpoints, put, text));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.killAll();
  }
}
