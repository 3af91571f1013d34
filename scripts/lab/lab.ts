/**
 * A network of hosts on this machine: namespaces on a switch, a store, a flanneld in each host.
 *
 *     await using lab = await Lab.create({ hosts: 3, config: { Network: "10.5.0.0/16", Backend: { Type: "vxlan" } } });
 *     await lab.startAll();
 *     await lab.connect();
 *
 * All of it ends with the lab: on disposal, and when the process ends or gets SIGINT or SIGTERM.
 *
 * @module
 */
import type { JsonObject } from "../../lib/config/types.ts";
import { FAMILIES, type FamilyName } from "../../lib/net/family.ts";
import type { Container, SubnetFile } from "./container.ts";
import { Host, type StartOptions } from "./host.ts";
import { labFolder, ownPrefix } from "./leftovers.ts";
import { ping } from "./measure.ts";
import type { Children, Namespace } from "./namespace.ts";
import { delay } from "./process.ts";
import { type LabStore, openStore, type StoreFactory, type StoreKind } from "./store.ts";
import { makeUnderlay, type Underlay } from "./underlay.ts";

/** What a lab is to be. */
export interface LabOptions {
  /** @default 3 */
  readonly hosts?: number;
  /** Of the underlay, and of the network if there is no config. @default ["ipv4"] */
  readonly families?: readonly FamilyName[];
  /** Of the hosts' eth0, in bytes. @default 1500 */
  readonly mtu?: number;
  /** 2: hosts take turns on two segments with a router between. @default 1 */
  readonly segments?: 1 | 2;
  /** @default "etcd" */
  readonly store?: StoreKind | StoreFactory;
  /** The network config; null writes none. @default networkConfig of the families with vxlan */
  readonly config?: JsonObject | null;
}

/** A network config for these families. */
export function networkConfig(families: readonly FamilyName[], backend: JsonObject): JsonObject {
  return {
    ...(families.includes("ipv4") ? { Network: "10.5.0.0/16" } : { EnableIPv4: false }),
    ...(families.includes("ipv6") ? { EnableIPv6: true, IPv6Network: "fc00::/48" } : {}),
    Backend: backend,
  };
}

/**
 * A network config with which hosts choose subnets from 10.5.100.0 to 10.5.195.0: a lease that a test writes outside
 * of them is never a host's own by chance.
 */
export function apartFromPeers(config: JsonObject = networkConfig(["ipv4"], { Type: "vxlan" })): JsonObject {
  return { ...config, SubnetMin: "10.5.100.0", SubnetMax: "10.5.195.0" };
}

/** Labs that are there now: what a signal has to take away. */
const live = new Set<Lab>();
let watching = false;

/** Takes all labs away when the process ends, however it ends (but SIGKILL: see leftovers.ts). */
function watchForTheEnd(): void {
  if (watching) return;
  watching = true;
  const destroyAll = () => live.forEach((lab) => lab.destroy());
  globalThis.addEventListener("unload", destroyAll);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const listener = () => {
      destroyAll();
      // Now the signal does what it does to every process.
      Deno.removeSignalListener(signal, listener);
      Deno.kill(Deno.pid, signal);
    };
    Deno.addSignalListener(signal, listener);
  }
}

/** A network of hosts. */
export class Lab implements AsyncDisposable {
  readonly hosts: readonly Host[];

  private constructor(
    readonly prefix: string,
    /** For files; goes with the lab. */
    readonly folder: string,
    readonly underlay: Underlay,
    readonly store: LabStore,
    readonly children: Children,
  ) {
    this.hosts = underlay.ports.map((port) => new Host(port, prefix, folder, store.args));
    live.add(this);
  }

  /** Makes hosts, wires and store, and writes the config. No daemon runs yet. */
  static async create(options: LabOptions = {}): Promise<Lab> {
    const { hosts = 3, families = ["ipv4"], mtu = 1500, segments = 1, store = "etcd" } = options;
    const config = options.config === undefined ? networkConfig(families, { Type: "vxlan" }) : options.config;
    const prefix = `${ownPrefix()}${crypto.randomUUID().slice(0, 6)}-`;
    const folder = `${labFolder()}/${prefix.slice(0, -1)}`;
    const children: Children = new Set();
    watchForTheEnd();
    await Deno.mkdir(folder);
    try {
      const underlay = await makeUnderlay(prefix, { hosts, families, mtu, segments }, children);
      const { switch: middle, switchAddress: address } = underlay;
      const opened = await openStore(store, { middle, address, prefix, folder });
      const lab = new Lab(prefix, folder, underlay, opened, children);
      if (config !== null) await lab.store.writeConfig(JSON.stringify(config));
      return lab;
    } catch (error) {
      removeAll(prefix, folder, children);
      throw error;
    }
  }

  /** The namespace that is switch, router and home of etcd. */
  get switch(): Namespace {
    return this.underlay.switch;
  }

  /** The etcd. @throws {Error} If the lab has none. */
  get etcd() {
    if (this.store.etcd === undefined) throw new Error("this lab's store isn't an etcd");
    return this.store.etcd;
  }

  /** The host with this number, counted from 1. @throws {RangeError} If there is none. */
  host(number: number): Host {
    const host = this.hosts[number - 1];
    if (host === undefined) throw new RangeError(`the lab has ${this.hosts.length} hosts, no h${number}`);
    return host;
  }

  /** Starts flanneld on all hosts at the same moment and waits until all are ready. */
  async startAll(options?: StartOptions): Promise<SubnetFile[]> {
    for (const host of this.hosts) host.start(options);
    return await Promise.all(this.hosts.map((host) => host.waitReady()));
  }

  /** A container on every host that has none. */
  async connect(): Promise<readonly Container[]> {
    await Promise.all(
      this.hosts.filter((host) => host.containers.length === 0).map((host) => host.addContainer()),
    );
    return this.containers;
  }

  get containers(): readonly Container[] {
    return this.hosts.flatMap((host) => host.containers);
  }

  /**
   * Pings every container from every other one over every family.
   *
   * @param milliseconds For this long a pair that doesn't answer is asked again: daemons that are ready may
   *   learn of each other only a moment later. @default 5000
   * @throws {Error} Naming the pairs that never answered.
   */
  async pingAll(milliseconds = 5000): Promise<void> {
    const pairs = this.pairs();
    if (pairs.length === 0) throw new Error("the lab has no two containers to ping");
    const end = performance.now() + milliseconds;
    const failed: string[] = [];
    await Promise.all(pairs.map(async ({ from, to, address }) => {
      for (;;) {
        const { received } = await ping(from, address, { timeout: 500 });
        if (received > 0) return;
        if (performance.now() > end) return void failed.push(`${from.name} → ${to.name} (${address})`);
        await delay(20);
      }
    }));
    if (failed.length > 0) {
      throw new Error(`no answer within ${milliseconds} ms: ${failed.sort().join(", ")}`);
    }
  }

  /** Every ordered pair of containers, once for each family. */
  pairs(): { from: Container; to: Container; address: string }[] {
    return this.containers.flatMap((from) =>
      this.containers.filter((to) => to !== from).flatMap((to) =>
        FAMILIES.flatMap(({ name }) => {
          const address = to.addresses[name];
          return address === undefined ? [] : [{ from, to, address }];
        })
      )
    );
  }

  /** The last lines of every daemon's log, for a failed test's report. */
  logs(lines = 40): string {
    return this.hosts.flatMap((host) =>
      host.daemons.map((daemon, index) => {
        const tail = daemon.log.split("\n").slice(-lines).join("\n  ");
        return `--- ${host.name}, daemon ${
          index + 1
        } of ${host.daemons.length} (pid ${daemon.pid}):\n  ${tail}`;
      })
    ).join("\n");
  }

  /** Takes everything away at once, without waiting: for the end of the process. */
  destroy(): void {
    live.delete(this);
    removeAll(this.prefix, this.folder, this.children);
    if (this.store.etcd !== undefined) removeFolder(this.store.etcd.folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]();
    const ending = [...this.children].map((child) => child.status);
    for (const child of this.children) kill(child);
    await Promise.all(ending);
    this.destroy();
  }
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // Ended already.
  }
}

/** Ends the processes, then deletes the namespaces and the folder whose names begin with the prefix. */
function removeAll(prefix: string, folder: string, children: Children): void {
  children.forEach(kill);
  const namespaces = [...Deno.readDirSync("/run/netns")].map(({ name }) => name).filter((name) =>
    name.startsWith(prefix)
  );
  const removals = namespaces.map((name) =>
    `ip netns pids ${name} | xargs -r kill -9; ip netns delete ${name}`
  );
  new Deno.Command("sh", { args: ["-c", removals.join("\n")], stdout: "null", stderr: "null" }).outputSync();
  removeFolder(folder);
}

function removeFolder(folder: string): void {
  try {
    Deno.removeSync(folder, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
