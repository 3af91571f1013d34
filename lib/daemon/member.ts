/**
 * This host as a member of the network: from the lease on, everything that is kept right.
 *
 * @module
 */
import type { HostPlan, LivePeer, RunningBackend, SessionBackend } from "../backend/types.ts";
import { Announcer } from "../external/announcer.ts";
import type { ExternalInterface } from "../external/types.ts";
import type { JsonObject } from "../config/types.ts";
import { type HostChange, HostKeeper } from "../kernel/host_keeper.ts";
import type { LeaseSink, Membership } from "../leases/contract.ts";
import { PeerSet } from "../leases/peer_set.ts";
import { NetlinkMonitor } from "../netlink/monitor.ts";
import type { ProbeView } from "../status/document.ts";
import { FAMILIES } from "../net/family.ts";
import { sameIp } from "../net/ip.ts";
import { collectLargeHeap } from "../observe/heap.ts";
import { ConfigFollower } from "./config_feed.ts";
import { FirewallRules } from "./firewall_rules.ts";
import { logChange } from "./external.ts";
import { removeFormerNetwork } from "./former_network.ts";
import { HostFiles } from "./host_files.ts";
import { LeaseHealth } from "./lease_health.ts";
import { reportLeases } from "./lease_report.ts";
import { PeerChangeTimes } from "./peer_changes.ts";
import { PeerEntries } from "./peer_entries.ts";
import type { PeerFilterSwitch } from "./peer_filter_sync.ts";
import type { MemberParts } from "./member_parts.ts";
import { keptPlan, Planner } from "./planner.ts";
import { networkIdOf } from "./store.ts";
import { feedWatchdog } from "./systemd.ts";

/** Keeps one host in one network until it is disposed; the data path stays. */
export class Member implements AsyncDisposable {
  readonly parts: MemberParts;
  readonly peers: PeerSet;
  readonly host: HostKeeper;
  readonly membership: Membership;
  readonly leaseHealth: LeaseHealth;
  readonly entries: PeerEntries;
  readonly rules: FirewallRules;
  /** Results of probes for status, where there are any. */
  probes: ProbeView | undefined;
  readonly #config: ConfigFollower;
  readonly #planner: Planner;
  readonly #announcer: Announcer;
  readonly #files: HostFiles;
  #changes: PeerChangeTimes | undefined;
  #running: RunningBackend | undefined;
  #peerFilter: Promise<PeerFilterSwitch> | undefined;

  constructor(parts: MemberParts) {
    const { options, network, backend, membership, external, socket, log, metrics, problems } = parts;
    this.parts = parts;
    this.membership = membership;
    this.#planner = new Planner({ socket, backend, lease: membership.own, external, options });
    const { signal } = parts.tasks;
    this.#announcer = new Announcer({ socket, log: log.child("interface"), metrics, problems, signal });
    this.#files = new HostFiles({ options, log, problems });
    const networks = network.config.families.map((family) => family.network);
    const networkId = networkIdOf(options);
    this.host = new HostKeeper({ socket, networks, networkId, log: log.child("kernel"), metrics, problems });
    this.peers = new PeerSet({
      ...{ networks, own: membership.own },
      hostsSayType: backend.attributes.backendType !== undefined,
      ...reportLeases(log.child("leases"), metrics),
    });
    this.#config = new ConfigFollower(
      network,
      { backends: parts.backends, log, problems },
      (on) => this.#loadPeerFilter().then((filter) => filter.follow(on)),
    );
    this.leaseHealth = new LeaseHealth({ membership, peers: this.peers, metrics, problems });
    this.rules = new FirewallRules(options, network.config, membership.own, {
      log: log.child("firewall"),
      metrics,
      problems,
    });
    this.entries = new PeerEntries(this.peers, this.host, this.plan, { log: log.child("peers"), metrics });
  }

  /** What the backend is planned with now. */
  get plan(): HostPlan {
    return this.#planner.plan;
  }

  /** The interface to the other hosts, as it is now. */
  get external(): ExternalInterface {
    return this.#planner.external;
  }

  /**
   * The phases of joining, in their order. What each of them starts goes on until the daemon ends. Resolves when the
   * firewall rules are in, or have failed for a first time.
   *
   * The peers' entries are known once the host's devices are made, and written by the first pass.
   *
   * @param first Puts the leases that were read with the own one into the peers.
   */
  async start(first: (sink: LeaseSink) => void): Promise<void> {
    const { backend, network } = this.parts;
    const changes = this.#watchKernel();
    // The subnet file doesn't wait for a long list of peers where nothing before it needs them.
    const needsPeers = backend.carrier === "session" || network.config.peerFilter;
    if (needsPeers) this.#takePeers(first);
    await this.#guardTunnel();
    this.#makeDevices();
    if (!needsPeers) {
      await this.#writeSubnetFile();
      this.#takePeers(first);
    }
    this.entries.follow();
    this.#followStore();
    if (backend.carrier === "session") {
      this.#keepHost(changes);
      await this.#startSession(backend);
    }
    if (needsPeers) await this.#writeSubnetFile();
    this.#announcer.refresh(this.external);
    this.#keepFiles();
    this.#keepFirewall();
    if (backend.carrier === "kernel") this.#keepHost(changes);
    await this.rules.tried;
  }

  /** What changes from here on isn't missed. */
  #watchKernel(): NetlinkMonitor {
    const { socket, tasks } = this.parts;
    return NetlinkMonitor.open({
      groups: ["link", "ipv4-address", "ipv6-address", "ipv4-route", "ipv6-route", "neighbour", "nexthop"],
      ignorePortIds: [socket.portId],
      signal: tasks.signal,
    });
  }

  #takePeers(first: (sink: LeaseSink) => void): void {
    collectLargeHeap();
    first(this.peers);
    this.#changes = new PeerChangeTimes(this.peers);
  }

  /** With PeerFilter: in force before the device is there, so that no packet of a stranger comes in first. */
  async #guardTunnel(): Promise<void> {
    if (this.parts.network.config.peerFilter) await (await this.#loadPeerFilter()).set(true);
  }

  /** The host's own side. */
  #makeDevices(): void {
    removeFormerNetwork(this.parts);
    this.#setPlan();
  }

  /** The own lease, the others' and the config; and their health. */
  #followStore(): void {
    const { tasks, problems } = this.parts;
    const { membership } = this;
    tasks.start((signal) => membership.keep(signal, (own) => void this.#files.keepLease(own)));
    tasks.start((signal) => membership.follow(this.peers, (config) => this.#config.take(config), signal));
    tasks.start((signal) => this.leaseHealth.watch(signal));
    tasks.start((signal) => feedWatchdog(signal, problems));
  }

  /**
   * Devices and entries, in a first full pass and from then on. For backends with a session, which may wait for a
   * cloud for a long time, it begins before that: they have no peers' entries that could delay the subnet file.
   */
  #keepHost(changes: NetlinkMonitor): void {
    this.parts.tasks.start((signal) => this.host.run(changes, signal, () => this.#followHost()));
  }

  /** Resolves when the backend is ready. */
  async #startSession(backend: SessionBackend): Promise<void> {
    const { network, tasks, log, metrics, problems } = this.parts;
    const { membership } = this;
    this.#running = await backend.start({
      lease: membership.own,
      plan: this.plan,
      external: this.external,
      peers: this.peers,
      peersAreCurrent: () => membership.health().connected,
      log: log.child(network.config.backend.type),
      metrics,
      problems,
      signal: tasks.signal,
      publish: (attributes) => membership.publish({ ...attributes, publicIps: this.external.publicIps }),
      fail: (error) => tasks.fail(error),
    });
  }

  #keepFiles(): void {
    this.parts.tasks.start(async (signal) => {
      await this.#files.keepLease(this.membership.own);
      await this.#files.keep(signal);
    });
  }

  #keepFirewall(): void {
    const { network, tasks } = this.parts;
    tasks.start((signal) => this.rules.keep(signal));
    // Of an earlier run with PeerFilter something may be left.
    if (!network.config.peerFilter) tasks.start(async () => (await this.#loadPeerFilter()).follow(false));
  }

  /** Loaded when it is used: where PeerFilter is off, nothing before the subnet file needs it. */
  #loadPeerFilter(): Promise<PeerFilterSwitch> {
    const { backend, network, options, tasks, log, metrics, problems } = this.parts;
    return this.#peerFilter ??= import("./peer_filter_sync.ts").then(({ PeerFilterSwitch }) =>
      new PeerFilterSwitch({
        backend,
        backendType: network.config.backend.type,
        networkId: networkIdOf(options),
        peers: this.peers,
        interval: options.iptablesResync * 1000,
        tasks,
        log: log.child("peer filter"),
        metrics,
        problems,
      })
    );
  }

  /** The config that this host runs with, complete and without secrets. */
  get config(): JsonObject {
    return this.#config.complete;
  }

  /** Whether the store still holds the config that this host runs with. */
  get configInUse(): boolean {
    return this.#config.isInUse;
  }

  /** When a peer's lease last changed, in milliseconds since 1970; undefined: not since the start. */
  changedAt(key: string): number | undefined {
    return this.#changes?.of(key);
  }

  /** What a backend with work of its own sees of its peers. */
  livePeers(): ((key: string) => LivePeer | undefined) | undefined {
    return this.#running?.livePeers?.();
  }

  /** What a backend with work of its own says of it, for `flanneld status`. */
  backendStatus(): JsonObject | undefined {
    return this.#running?.status?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.entries[Symbol.dispose]();
    this.#changes?.[Symbol.dispose]();
    await this.#running?.[Symbol.asyncDispose]();
    this.rules[Symbol.dispose]();
    (await this.#peerFilter)?.[Symbol.dispose]();
  }

  #setPlan(): void {
    const { problems } = this.parts;
    if (this.plan.problem === undefined) problems.clear("mtu", "the underlay carries Backend.MTU");
    else problems.set("mtu", this.plan.problem);
    this.host.setPlan(keptPlan(this.plan, this.membership.own, this.parts.options));
  }

  async #writeSubnetFile(): Promise<void> {
    const { options, network } = this.parts;
    const { families } = network.config;
    await this.#files.writeSubnet({
      networks: Object.fromEntries(families.map(({ family, network }) => [family.name, network])),
      subnets: this.membership.own.subnets,
      mtu: this.plan.mtu,
      ipMasq: options.ipMasq,
    });
  }

  /** Links, addresses or routes that aren't ours changed: the plan may depend on them. */
  async #followHost(): Promise<HostChange> {
    const { before, again } = this.#planner.refresh();
    this.#announcer.refresh(this.external, before !== undefined);
    const later = again === undefined ? {} : { again };
    if (!before) return { changed: false, ...later };
    const { plan, external } = this;
    try {
      this.#setPlan();
    } finally {
      // A device that can't be made now is made by a later pass: the rest doesn't wait for it.
      this.entries.replan(plan);
      this.#running?.replan?.(plan, external);
      if (external !== before.external) this.#publish(external, before.external);
      if (plan.mtu !== before.plan.mtu) await this.#files.updateSubnet({ mtu: plan.mtu });
    }
    return { changed: true, ...later };
  }

  /** Logs the external interface as it is now, and publishes it with the lease. */
  #publish(external: ExternalInterface, before: ExternalInterface): void {
    const { log, manager, backend } = this.parts;
    logChange(external, log);
    const moved = FAMILIES.some(({ name }) => !sameIp(external.addresses[name], before.addresses[name]));
    if (moved) manager.dropConnections?.();
    this.membership.publish({ ...backend.attributes, publicIps: external.publicIps });
  }
}
