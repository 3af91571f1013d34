/**
 * Taking away all that is ours on this host: cloud routes, devices, routes, firewall rules, lease, files.
 *
 * Every part is tried, whatever became of the others; what isn't there is no error.
 *
 * @module
 */
import { dirname } from "node:path";
import type { BackendRegistry } from "../backend/registry.ts";
import { messageOf } from "../errors.ts";
import { type ResolvedNetwork, resolveNetwork } from "../backend/network.ts";
import type { Options } from "../options/table.ts";
import { type ReadSubnetFile, readSubnetFile } from "../config/subnet_file.ts";
import { Firewall } from "../firewall/firewall.ts";
import { removePeerFilter } from "../firewall/peer_filter_removal.ts";
import { DEFAULT_NETWORK_ID } from "../firewall/names.ts";
import { removeFromKernel } from "../kernel/remove.ts";
import type { LeavingLease, SubnetManager } from "../leases/contract.ts";
import { NetlinkSocket } from "../netlink/socket.ts";
import type { Link } from "../netlink/types.ts";
import { FAMILIES } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";
import type { PartLog } from "../observe/log.ts";
import { noMetrics, noProblems } from "../observe/types.ts";
import { type KeptLease, leaseFilePath, readLeaseFile } from "./lease_file.ts";
import { contextOf, leavingHost } from "./leaving_host.ts";
import { DaemonLock, LockedError } from "./lock.ts";
import { claimNetwork } from "./network_claim.ts";
import { statusSocketPath } from "./status_server.ts";
import { networkIdOf, openSubnetManager } from "./store.ts";

/** How long the store may take: cleanup works without it, less completely. */
const STORE_TIMEOUT_MS = 3_000;

/** Names of the original's devices, by kind. */
const ORIGINALS: Readonly<Record<string, RegExp>> = {
  vxlan: /^flannel(-v6)?\.\d+$/,
  wireguard: /^flannel-wg(-v6)?$/,
  ipip: /^flannel\.ipip$/,
};

/** Removes everything of this network. @returns Whether all of it is gone. @throws {Error} If a daemon still runs. */
export async function cleanUp(options: Options, backends: BackendRegistry, log: PartLog): Promise<boolean> {
  using _locks = await lockOut(options, log);
  const cleaner = new Cleaner(options, backends, log);
  await using store = await openSubnetManager(options, { log, metrics: noMetrics, problems: noProblems });
  await cleaner.readNetwork(store);
  await cleaner.step("the lease", () => cleaner.findLeases(store));
  await cleaner.step("the cloud's route", () => cleaner.removeCloudRoute());
  await cleaner.step("devices and routes", () => cleaner.removeKernelState());
  await cleaner.step("firewall rules", () => cleaner.removeRules());
  await cleaner.step("the lease", () => cleaner.releaseLeases());
  await cleaner.step("the subnet file", () => cleaner.removeFiles());
  return cleaner.failures === 0;
}

/** @throws {Error} If that can't be seen. */
async function isThere(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Keeps daemons from starting meanwhile. */
async function lockOut(options: Options, log: PartLog): Promise<Disposable> {
  const { signal } = new AbortController();
  using locks = new DisposableStack();
  try {
    // Without a folder for its files no daemon can have run with them.
    if (await isThere(dirname(options.subnetFile))) {
      locks.use(await DaemonLock.take(options, "flanneld cleanup", signal));
    }
    locks.use(await claimNetwork(options, log, signal));
    return locks.move();
  } catch (error) {
    if (!(error instanceof LockedError)) throw error;
    throw new Error(
      `${error.holder} is running and would recreate everything: stop it first (systemctl stop flanneld)`,
    );
  }
}

class Cleaner {
  failures = 0;
  readonly #options: Options;
  readonly #backends: BackendRegistry;
  readonly #log: PartLog;
  #network: ResolvedNetwork | undefined;
  /** Why the network config can't be read; without it and without a network, nobody has written one. */
  #networkFault: string | undefined;
  #file: ReadSubnetFile | undefined;
  #kept: KeptLease | undefined;
  #leases: readonly LeavingLease[] = [];

  constructor(options: Options, backends: BackendRegistry, log: PartLog) {
    this.#options = options;
    this.#backends = backends;
    this.#log = log;
  }

  /** Does one part; a failure is logged and counted. */
  async step(what: string, work: () => Promise<readonly string[]>): Promise<void> {
    try {
      for (const removed of await work()) this.#log.info(`Removed ${removed}`);
    } catch (error) {
      this.failures++;
      this.#log.error(`Cannot remove ${what}`, {
        error: messageOf(error),
      });
    }
  }

  /** Learns what the network is: from the subnet file, and from the store if it answers. */
  async readNetwork(store: SubnetManager): Promise<void> {
    this.#file = await readSubnetFile(this.#options.subnetFile).catch(() => undefined);
    this.#kept = await readLeaseFile(leaseFilePath(this.#options), this.#log);
    try {
      const stored = await store.readConfig({ timeoutMs: STORE_TIMEOUT_MS });
      if (stored) this.#network = await resolveNetwork(stored.text, this.#backends);
    } catch (error) {
      this.#networkFault = `Cannot read the network config: ${messageOf(error)}`;
    }
  }

  get #networks(): Prefix[] {
    const fromFile = FAMILIES.flatMap((family) => this.#file?.networks[family.name] ?? []);
    return [...fromFile, ...this.#network?.config.families.map(({ network }) => network) ?? []];
  }

  /** Looks for this host's leases, while the devices that prove them are still there. */
  async findLeases(store: SubnetManager): Promise<readonly string[]> {
    const network = this.#network;
    if (!network && this.#networkFault === undefined) return [];
    if (!network) {
      throw new Error(
        `${this.#networkFault}. The lease, if there is one, stays until it expires; run cleanup again when the ` +
          "store answers",
      );
    }
    const host = await leavingHost(this.#options, network, {
      ...{ file: this.#file, kept: this.#kept, log: this.#log },
    });
    const onDoubt = ({ key, value }: { readonly key: string; readonly value: string }) =>
      this.#log.warn(
        `Lease ${key} kept: it has this host's public IP, and nothing proves that it is this host's`,
        { value },
      );
    this.#leases = await store.leasesOf(host, onDoubt, { timeoutMs: STORE_TIMEOUT_MS });
    return [];
  }

  async removeCloudRoute(): Promise<string[]> {
    const network = this.#network;
    if (!network?.backend.cleanup) return [];
    using socket = NetlinkSocket.open();
    const { context } = await contextOf(socket, this.#options, network, { kept: this.#kept, log: this.#log });
    const subnets = this.#file?.subnets ?? this.#leases[0]?.subnets ?? {};
    await network.backend.cleanup(network.options, context, { subnets });
    return ["the cloud's route"];
  }

  removeKernelState(): Promise<string[]> {
    using socket = NetlinkSocket.open();
    const networkId = networkIdOf(this.#options);
    // The original marks nothing; only the default network can be its.
    const isOriginals = (link: Link) =>
      networkId === DEFAULT_NETWORK_ID && ORIGINALS[link.kind ?? ""]?.test(link.name) === true;
    return Promise.resolve(removeFromKernel(socket, { networkId, networks: this.#networks, isOriginals }));
  }

  async removeRules(): Promise<string[]> {
    const mode = this.#network?.config.enableNFTables ? "nftables" : "iptables";
    const networkId = networkIdOf(this.#options);
    using firewall = await Firewall.open({ mode, networkId, log: this.#log });
    const removed = await firewall.remove() ? ["firewall rules"] : [];
    return await removePeerFilter(networkId) ? [...removed, "the peer filter"] : removed;
  }

  /** Gives the subnets back: peers would send packets to a host that drops them until the lease expires. */
  async releaseLeases(): Promise<string[]> {
    const released: string[] = [];
    for (const lease of this.#leases) {
      if (await lease.release({ timeoutMs: STORE_TIMEOUT_MS })) released.push(`lease ${lease.key}`);
    }
    return released;
  }

  async removeFiles(): Promise<string[]> {
    const removed: string[] = [];
    const options = this.#options, backends = this.#network?.backend.files?.() ?? [];
    const own = [options.subnetFile, leaseFilePath(options), statusSocketPath(options)];
    for (const path of [...own, ...backends]) {
      try {
        await Deno.remove(path);
        removed.push(path);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    return removed;
  }
}
