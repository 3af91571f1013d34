/**
 * The network of a fault run: four hosts with a container each, and an etcd of three members.
 *
 * @module
 */
import type { FamilyName } from "../../lib/net/family.ts";
import type { SubnetFile } from "../lab/container.ts";
import { EtcdCluster } from "../lab/etcd_cluster.ts";
import { Lab, networkConfig } from "../lab/lab.ts";
import { SUBNETS } from "../lab/leases.ts";
import { until } from "../lab/process.ts";
import { ownWireguard } from "../lab/own_wireguard.ts";
import { startReaper } from "../lab/reaper.ts";
import { ChaosHost } from "./chaos_host.ts";
import { difference, readState, type Symbols } from "./kernel_state.ts";
import type { ChaosBackend, ChaosOptions } from "./options.ts";
import { Pinger } from "./pinger.ts";

const HOSTS = 4;
/** How long fresh hosts may take until nothing of them changes any more, in milliseconds. */
const SETTLE_LIMIT = 30_000;

/** The backends' devices by family. */
const DEVICES: Readonly<Record<ChaosBackend, Partial<Record<FamilyName, string>>>> = {
  vxlan: { ipv4: "flannel.1", ipv6: "flannel-v6.1" },
  "host-gw": {},
  udp: { ipv4: "flannel0" },
  wireguard: { ipv4: "flannel-wg", ipv6: "flannel-wg-v6" },
};

const PREFIXES: Readonly<Record<FamilyName, string>> = { ipv4: "10.5.0.0/16", ipv6: "fc00::/48" };

/** A lease as it stands in etcd. */
interface StoredLease {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
  /** Whether it expires. */
  readonly hasLease: boolean;
}

/** The network, which is all there and connected when it is made. */
export class ChaosNetwork implements AsyncDisposable {
  /** Each host's subnet file at the begin: a subnet never changes. */
  #files: readonly SubnetFile[] = [];
  #wanted: readonly (readonly string[])[] = [];
  #pinger: Pinger | undefined;
  readonly #reaper: Disposable;

  private constructor(
    readonly lab: Lab,
    readonly cluster: EtcdCluster,
    readonly hosts: readonly ChaosHost[],
    readonly families: readonly FamilyName[],
    readonly config: string,
  ) {
    this.#reaper = startReaper(lab.prefix, lab.folder);
  }

  /** Makes the network, waits until it is connected, and takes down what a fresh start makes of each host. */
  static async create(options: ChaosOptions): Promise<ChaosNetwork> {
    const families: FamilyName[] = options.dualStack ? ["ipv4", "ipv6"] : ["ipv4"];
    const config = networkConfig(families, { Type: options.backend });
    const lab = await Lab.create({
      hosts: HOSTS,
      families,
      config,
      store: (place) => EtcdCluster.start(place),
    });
    const devices = families.flatMap((family) => DEVICES[options.backend][family] ?? []);
    const args = ["-ip-masq"];
    const hosts = lab.hosts.map((host) => {
      const start = options.backend === "wireguard" ? { args, ...ownWireguard(host) } : { args };
      return new ChaosHost(host, lab.switch, families, devices, start);
    });
    const cluster = lab.store as EtcdCluster;
    const network = new ChaosNetwork(lab, cluster, hosts, families, JSON.stringify(config));
    try {
      await network.#begin();
      return network;
    } catch (error) {
      console.error(lab.logs());
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    for (const host of this.hosts) host.daemon.start();
    this.#files = await Promise.all(this.lab.hosts.map((host) => host.waitReady()));
    await this.lab.connect();
    await this.lab.pingAll();
    this.#pinger = new Pinger(this.lab);
    await this.saveSnapshot();
    const symbols = this.#symbols(await this.#leases());
    this.#wanted = await Promise.all(this.hosts.map((host) => settledState(host, symbols)));
  }

  get pinger(): Pinger {
    return this.#pinger!;
  }

  /** What flanneld gives subnets of. */
  get prefixes(): readonly string[] {
    return this.families.map((family) => PREFIXES[family]);
  }

  /** The file of {@link saveSnapshot}. */
  get snapshot(): string {
    return `${this.lab.folder}/snapshot.db`;
  }

  /** Saves etcd's state, for a later restore. */
  async saveSnapshot(): Promise<void> {
    await Deno.remove(this.snapshot).catch(() => {});
    await this.cluster.save(this.snapshot);
  }

  writeConfig(): Promise<void> {
    return this.cluster.writeConfig(this.config);
  }

  /** Loads an nft ruleset in the switch. */
  async applyOnSwitch(ruleset: string): Promise<void> {
    await this.lab.switch.exec(["nft", "-f", "-"], { input: ruleset });
  }

  /** Deletes a table that {@link applyOnSwitch} made. */
  async deleteOnSwitch(table: string): Promise<void> {
    await this.lab.switch.exec(["nft", "delete", "table", "bridge", table]);
  }

  /**
   * What isn't as after a fresh start: a line for each entry that is missing (`-`) or too much (`+`), and for each
   * lease that isn't right; apart from that, the problems that daemons report. Nothing where all is well.
   */
  async faults(): Promise<{ state: string[]; problems: string[] }> {
    const leases = await this.#leases();
    const symbols = this.#symbols(leases);
    const states = await Promise.all(this.hosts.map((host) => readState(host, symbols)));
    const entries = states.flatMap((state, index) =>
      difference(this.#wanted[index]!, state).map((line) => `${this.hosts[index]!.label}: ${line}`)
    );
    const isProblem = (line: string) => /^h\d+: [+-] problem /.test(line);
    return {
      state: [...this.#leaseFaults(leases), ...entries.filter((line) => !isProblem(line))],
      problems: entries.filter(isProblem),
    };
  }

  /** Takes away all that daemons made and begins again with the same subnets: after a fault that didn't heal. */
  async startOver(): Promise<void> {
    await Promise.all(this.hosts.map(({ daemon }) => daemon.kill()));
    await this.cluster.ctl("del", "--prefix", SUBNETS);
    for (const [index, host] of this.hosts.entries()) {
      await Deno.writeTextFile(host.host.subnetFile, this.#files[index]!.text);
      await host.deleteTunnels();
      await host.flushRoutes(this.prefixes);
      await host.host.exec(["nft", "flush", "ruleset"]);
      await host.configureUnderlay();
      host.daemon.start();
    }
    for (const host of this.lab.hosts) await host.waitReady();
    await this.lab.pingAll();
  }

  async #leases(): Promise<StoredLease[]> {
    const answer = JSON.parse(await this.cluster.ctl("get", "--prefix", SUBNETS, "--write-out=json"));
    const rows = (answer.kvs ?? []) as { key: string; value: string; lease?: number }[];
    return rows.map(({ key, value, lease }) => ({
      key: atob(key).slice(SUBNETS.length),
      value: JSON.parse(atob(value)),
      hasLease: lease !== undefined,
    }));
  }

  /** The key of a host's lease, as of the begin. */
  #keyOf(index: number): string {
    const { subnets } = this.#files[index]!;
    return this.families.map((family) => networkOf(subnets[family]!).replace("/", "-")).join("&");
  }

  #symbols(leases: readonly StoredLease[]): Symbols {
    const symbols = new Map<string, string>();
    this.hosts.forEach((host, index) => {
      for (const family of this.families) {
        const subnet = this.#files[index]!.subnets[family]!;
        symbols.set(networkOf(subnet).split("/")[0]!, `${host.label} ${family} subnet`);
        symbols.set(subnet.split("/")[0]!, `${host.label} ${family} gateway`);
        symbols.set(host.addresses[family]!, `${host.label} ${family} address`);
      }
      const value = leases.find(({ key }) => key === this.#keyOf(index))?.value;
      for (const data of ["BackendData", "BackendV6Data"]) {
        const mac = (value?.[data] as { VtepMAC?: string } | undefined)?.VtepMAC;
        if (mac !== undefined) symbols.set(mac, `${host.label} ${data} MAC`);
        const key = (value?.[data] as { PublicKey?: string } | undefined)?.PublicKey;
        if (key !== undefined) symbols.set(key, `${host.label} key`);
      }
    });
    return symbols;
  }

  #leaseFaults(leases: readonly StoredLease[]): string[] {
    const faults: string[] = [];
    const strangers = new Set(leases.map(({ key }) => key));
    this.hosts.forEach((host, index) => {
      const key = this.#keyOf(index);
      strangers.delete(key);
      const lease = leases.find((each) => each.key === key);
      if (lease === undefined) return void faults.push(`${host.label}: its lease ${key} is gone`);
      if (!lease.hasLease) faults.push(`${host.label}: its lease ${key} never expires`);
      for (const [field, family] of [["PublicIP", "ipv4"], ["PublicIPv6", "ipv6"]] as const) {
        const wanted = host.addresses[family];
        if (wanted !== undefined && lease.value[field] !== wanted) {
          faults.push(`${host.label}: its lease has ${field} ${lease.value[field]}, and the host ${wanted}`);
        }
      }
    });
    return [...faults, ...[...strangers].map((key) => `a lease that no host had: ${key}`)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.hosts) host.daemon.close();
    await this.lab[Symbol.asyncDispose]();
    this.#reaper[Symbol.dispose]();
  }
}

/** The state once a host is ready and two looks see the same. */
async function settledState(host: ChaosHost, symbols: Symbols): Promise<string[]> {
  let before: string[] = [];
  return await until(`${host.label} to be as a fresh start makes it`, async () => {
    const state = await readState(host, symbols);
    const isSettled = state.includes("ready 200") && difference(before, state).length === 0;
    before = state;
    return isSettled ? state : undefined;
  }, SETTLE_LIMIT);
}

/** `10.5.72.1/24` → `10.5.72.0/24`, `fc00:0:0:5::1/64` → `fc00:0:0:5::/64`. */
function networkOf(subnet: string): string {
  return subnet.includes(":") ? subnet.replace("::1/", "::/") : subnet.replace(/\.\d+\//, ".0/");
}
