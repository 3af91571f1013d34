/**
 * What checks look at: each part is read when the first check asks for it, and once.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { Finding } from "../backend/finding.ts";
import type { Backend, HostPlan, OpenContext } from "../backend/types.ts";
import type { BackendRegistry } from "../backend/registry.ts";
import { type ResolvedNetwork, resolveNetwork } from "../backend/network.ts";
import type { StatusDocument } from "../status/document.ts";
import { parseSubnetFile, type ReadSubnetFile } from "../config/subnet_file.ts";
import { chooseExternal, KernelEnvironment } from "../daemon/external.ts";
import { leaseFilePath, readLeaseFile } from "../daemon/lease_file.ts";
import { openContext } from "../daemon/open_context.ts";
import { decodeView } from "../daemon/network_view.ts";
import { isNoDaemon, readLocal, readStatus } from "../daemon/status_client.ts";
import { statusSocketPath } from "../daemon/status_server.ts";
import { openStore, openSubnetManager } from "../daemon/store.ts";
import { type InterfaceChoice, InterfaceError } from "../external/types.ts";
import { type CommandRunner, systemRunner } from "../firewall/command.ts";
import { detectTools, type HostTools } from "../firewall/tools.ts";
import { decodeLease } from "../leases/codec.ts";
import type { Lease, StoredLease } from "../leases/types.ts";
import { familiesOf, type Family, IPV4, type PerFamily, perFamily } from "../net/family.ts";
import { sameIp } from "../net/ip.ts";
import { type Prefix, prefixOf } from "../net/prefix.ts";
import { NetlinkSocket } from "../netlink/socket.ts";
import { openLog } from "../observe/log.ts";
import { noMetrics, noProblems, silentLog } from "../observe/types.ts";
import type { Options } from "../options/table.ts";
import { HostFiles } from "./host_files.ts";
import { KernelView } from "./kernel_view.ts";
import { NotKnown } from "./not_known.ts";

/** How long the store may take to answer, in milliseconds. */
const STORE_TIMEOUT_MS = 5_000;

/** How long a firewall program may take, in milliseconds. */
const PROGRAM_TIMEOUT_MS = 5_000;

/** What the store says. */
interface StoreFacts {
  readonly description: string;
  /** Undefined: there is no config in it. */
  readonly network: ResolvedNetwork | undefined;
  /** The config as it stands there: it may hold secrets. */
  readonly text: string | undefined;
}

/** The host, its store and its daemon as they are now. */
export class Scene implements Disposable {
  readonly kernel: KernelView;
  readonly files = new HostFiles();
  readonly run: CommandRunner = systemRunner({ timeout: PROGRAM_TIMEOUT_MS });
  readonly #socket: NetlinkSocket;
  readonly #parts = new Map<string, unknown>();

  constructor(readonly options: Options, readonly backends: BackendRegistry) {
    this.#socket = NetlinkSocket.open();
    this.kernel = new KernelView(this.#socket);
  }

  /** What the store says. Rejects with what is wrong with it, or with the config in it. */
  store(): Promise<StoreFacts> {
    return this.#once("store", async () => {
      const { store } = this.options;
      if (store.kind === "sqlite" && !this.options.kubeSubnetMgr && !await exists(store.path)) {
        // Opening it would make it.
        const description = `sqlite ${store.path} (no such file)`;
        return { description, network: undefined, text: undefined };
      }
      await using manager = await openSubnetManager(this.options, {
        ...{ log: openLog({ format: "text", verbosity: 0 }), metrics: noMetrics, problems: noProblems },
      });
      const stored = await manager.readConfig({ timeoutMs: STORE_TIMEOUT_MS });
      const network = stored && await resolveNetwork(stored.text, this.backends);
      return { description: manager.description, network, text: stored?.text };
    });
  }

  /** The network config. @throws {NotKnown} */
  async network(): Promise<ResolvedNetwork> {
    const { network } = await this.store().catch((): Partial<StoreFacts> => ({}));
    if (!network) throw new NotKnown("no usable network config");
    return network;
  }

  /** The network's families; IPv4 as long as the config isn't known. */
  async families(): Promise<readonly Family[]> {
    const { network } = await this.store().catch((): Partial<StoreFacts> => ({}));
    return network?.config.families.map(({ family }) => family) ?? [IPV4];
  }

  /** The interface to the other hosts, and those that weren't taken. @throws {InterfaceError} */
  choice(): Promise<InterfaceChoice> {
    return this.#once(
      "choice",
      async () => chooseExternal(this.#socket, this.options, await this.families()),
    );
  }

  /** The interface to the other hosts. @throws {NotKnown} */
  async external(): Promise<InterfaceChoice["external"]> {
    try {
      return (await this.choice()).external;
    } catch (error) {
      if (error instanceof InterfaceError) throw new NotKnown("no interface to the other hosts");
      throw error;
    }
  }

  /** The network's backend, opened. Rejects with what keeps it from working here. @throws {NotKnown} */
  backend(): Promise<Backend> {
    return this.#once("backend", async () => {
      const network = await this.network();
      return await network.backend.open(network.options, await this.#openContext());
    });
  }

  /** What the backend itself sees; undefined where it has nothing to look at. @throws {NotKnown} */
  async backendFindings(): Promise<readonly Finding[] | undefined> {
    const { backend, options } = await this.network();
    return backend.examine && await backend.examine(options, await this.#openContext());
  }

  async #openContext(): Promise<OpenContext> {
    return await openContext(this.options, await this.network(), {
      ...{ socket: this.#socket, external: await this.external(), log: silentLog, metrics: noMetrics },
      signal: AbortSignal.timeout(STORE_TIMEOUT_MS),
    });
  }

  /** This host's subnets by the subnet file; before there is one, the first that could be leased. @throws {NotKnown} */
  async subnets(): Promise<PerFamily<Prefix>> {
    const { config } = await this.network();
    const written = (await this.subnetFile())?.subnets ?? {};
    return perFamily(config.families.map(({ family }) => family), (family) => {
      const own = config.families.find((one) => one.family === family)!;
      return written[family.name] ?? prefixOf(own.subnetMin, own.subnetLength);
    });
  }

  /** What the backend wants on this host. @throws {NotKnown} */
  async plan(): Promise<HostPlan> {
    return await this.planFor((await this.external()).mtu);
  }

  /** The plan if the interface to the other hosts had this MTU: what a path of that MTU takes. @throws {NotKnown} */
  async planFor(mtu: number): Promise<HostPlan> {
    const external = { ...await this.external(), mtu };
    const subnets = await this.subnets();
    const backend = await this.openedBackend();
    return backend.plan(new KernelEnvironment(this.#socket, external), { subnets });
  }

  /** The backend, where it can work here. @throws {NotKnown} */
  async openedBackend(): Promise<Backend> {
    try {
      return await this.backend();
    } catch (error) {
      throw error instanceof NotKnown ? error : new NotKnown("the backend cannot work here");
    }
  }

  /** As {@link peers}; none where they can't be read: the checks of daemon and store say why. */
  async peersIfKnown(): Promise<readonly Lease[]> {
    return await this.peers().catch(() => []);
  }

  /** The other hosts' leases, from a running daemon or else from the store. @throws {NotKnown} */
  peers(): Promise<readonly Lease[]> {
    return this.#once("peers", async () => {
      if ((await this.daemon()).status) {
        const view = decodeView(await readLocal(statusSocketPath(this.options), "/peers"));
        return view.targets.map(({ lease }) => lease);
      }
      if (this.options.kubeSubnetMgr) throw new NotKnown("no daemon that knows the cluster's Nodes");
      await this.network();
      const own = await this.external();
      const leases = (await this.storedLeases()).flatMap((stored) => decodeLease(stored).lease ?? []);
      return leases.filter(({ attributes }) =>
        !familiesOf(attributes.publicIps).some((family) =>
          sameIp(attributes.publicIps[family.name], own.publicIps[family.name])
        )
      );
    });
  }

  /** All leases as they stand in the store, this host's own among them. */
  storedLeases(): Promise<readonly StoredLease[]> {
    return this.#once("leases", async () => {
      await using store = await openStore(this.options);
      return (await store.listLeases({ timeoutMs: STORE_TIMEOUT_MS })).leases;
    });
  }

  /** The subnet file; undefined where there is none, or none that can be read. */
  subnetFile(): Promise<ReadSubnetFile | undefined> {
    const { subnetFile } = this.options;
    return this.#once("subnet file", async () => {
      const text = await this.files.text(subnetFile);
      return text === undefined ? undefined : parseSubnetFile(text);
    });
  }

  /** What a running daemon says of itself; the reason where none answers, and whether that is because none runs. */
  daemon(): Promise<
    { readonly status?: StatusDocument; readonly silence?: string; readonly isAway?: boolean }
  > {
    return this.#once("daemon", async () => {
      try {
        return { status: await readStatus(statusSocketPath(this.options)) };
      } catch (error) {
        return { silence: messageOf(error), isAway: isNoDaemon(error) };
      }
    });
  }

  /** What this host's lease publishes, as text: by the daemon, or by the file that it left. */
  async publishedLease(): Promise<string | undefined> {
    const { status } = await this.daemon();
    if (status?.lease) return status.lease.value;
    return (await readLeaseFile(leaseFilePath(this.options), silentLog))?.value;
  }

  /** The firewall programs. @throws {NotKnown} If they refuse to answer anyone but root. */
  tools(): Promise<HostTools> {
    return this.#once("tools", async () => {
      const tools = await detectTools(this.run);
      const works = tools.nft !== undefined || tools.iptables.length > 0;
      if (!works && Deno.uid() !== 0) throw new NotKnown("firewall rules are shown to root alone");
      return tools;
    });
  }

  /** What each working iptables prints of a table (`iptables-save -t TABLE`), by the program's name. */
  savedTables(table: "filter" | "nat", family: Family = IPV4): Promise<ReadonlyMap<string, string>> {
    return this.#once(`${family.name} ${table}`, async () => {
      const saved = new Map<string, string>();
      for (const { variant } of (await this.tools()).iptables) {
        const program = `${family === IPV4 ? "iptables" : "ip6tables"}${variant}`;
        const { code, stdout } = await this.run(`${program}-save`, ["-t", table]);
        if (code === 0) saved.set(program, stdout);
      }
      return saved;
    });
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  #once<T>(name: string, make: () => T): T {
    if (!this.#parts.has(name)) this.#parts.set(name, make());
    return this.#parts.get(name) as T;
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, (error) => !(error instanceof Deno.errors.NotFound));
}
