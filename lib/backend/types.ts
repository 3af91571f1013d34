/**
 * What a backend is: it says what this host and what each peer needs; the daemon and the reconciler do it.
 *
 * @module
 */
import type { ConfigField } from "../config/fields.ts";
import type { ConfigFault, JsonObject, NetworkConfig } from "../config/types.ts";
import type { Entry } from "../kernel/entries.ts";
import type { DesiredLink } from "../kernel/desired_link.ts";
import type { ExternalInterface } from "../external/types.ts";
import type { Lease, LeaseAttributes } from "../leases/types.ts";
import type { Link } from "../netlink/types.ts";
import type { Family, PerFamily } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import type { Prefix } from "../net/prefix.ts";
import type { Tunnel } from "../net/tunnel.ts";
import type { Log, Metrics, ProblemReporter } from "../observe/types.ts";
import type { DeclaredOptions } from "../options/spec.ts";
import type { Finding } from "./finding.ts";
import type { PeerPlan } from "./peer_plan.ts";

/** What of the host a plan depends on; a change of any of it makes a new plan. */
export interface Environment {
  readonly external: ExternalInterface;
  /** Whether `ip` is reached through the external interface without a gateway, by today's routes. */
  isOnLink(ip: Ip): boolean;
}

/** The part of the own lease that the data path depends on. */
export interface OwnSubnets {
  readonly subnets: PerFamily<Prefix>;
}

/** Everything that this host should have: a value, computed again whenever an input changes. */
export interface HostPlan {
  /** MTU for containers, in bytes: what the subnet file says. */
  readonly mtu: number;
  /** Devices of our own. */
  readonly links: readonly DesiredLink[];
  /** Entries for the host itself. */
  readonly entries: readonly Entry[];
  /** What of the config this host can't do, and what it does instead; absent when all is well. */
  readonly problem?: string;
  /** What one peer needs, and any problem with it. Must not throw. */
  forPeer(peer: Lease): PeerPlan;
}

/** Peers that were added or changed, with their leases, and those that are gone (undefined), by lease key. */
export type PeerChanges = ReadonlyMap<string, Lease | undefined>;

/** The live peers, keyed by lease key; the own lease is never among them. */
export interface PeerView {
  readonly peers: ReadonlyMap<string, Lease>;
  /** Whether a peer's subnet is reserved for a host that has not been there yet. */
  isAwaited?(key: string): boolean;
  /** Calls back after each change. */
  subscribe(onChange: (changes: PeerChanges) => void): Disposable;
}

/** What a backend with work of its own gets when it starts. */
export interface BackendSession {
  readonly lease: OwnSubnets;
  readonly plan: HostPlan;
  readonly external: ExternalInterface;
  readonly peers: PeerView;
  /** Whether the store has confirmed the peers lately: if not, an absent lease says nothing. */
  peersAreCurrent(): boolean;
  readonly log: Log;
  readonly metrics: Metrics;
  /** What fails and what is tried again goes here; keys begin with the backend's type. */
  readonly problems: ProblemReporter;
  /** Fires when the daemon ends. */
  readonly signal: AbortSignal;
  /** Publishes what the backend says of itself with the lease, where that changed. */
  publish(attributes: OpenedBackend["attributes"]): void;
  /** Ends the daemon with this error. */
  fail(error: Error): void;
}

/** What a running backend sees of a peer. */
export interface LivePeer {
  /** Milliseconds since 1970 of the last handshake; 0: none yet. */
  readonly lastHandshake?: number;
  /** What is wrong with it, seen from its traffic. */
  readonly problem?: string;
}

/** A backend that is at work. Disposing it leaves the data path as a restart wants to find it. */
export interface RunningBackend extends AsyncDisposable {
  /** The plan changed: other MTU, address or interface. */
  replan?(plan: HostPlan, external: ExternalInterface): void;
  /** What `status -json` shows of it. */
  status?(): JsonObject;
  /** What it alone knows of its peers, as of now: a look-up by lease key. Asked for once for many peers. */
  livePeers?(): (key: string) => LivePeer | undefined;
}

/** What all opened backends have. */
export interface OpenedBackend {
  /** What the host publishes with its lease. */
  readonly attributes: Pick<LeaseAttributes, "backendType" | "backendData">;
  /** How packets of peers arrive, for backends with a tunnel: what PeerFilter guards. */
  readonly tunnel?: Tunnel;
  /** The UDP ports of a peer's end of the tunnel, where peers may have other ones than this host. Must not throw. */
  readonly peerPorts?: (peer: Lease) => readonly number[];
  /** Pure in its arguments. */
  plan(environment: Environment, lease: OwnSubnets): HostPlan;
}

/** The kernel carries packets: the reconciler keeps the entries of the host and of its peers. */
export interface KernelBackend extends OpenedBackend {
  readonly carrier: "kernel";
}

/**
 * The backend carries packets itself, or has a cloud carry them: peers need no entries in the kernel, and the subnet
 * file waits until the backend is ready.
 */
export interface SessionBackend extends OpenedBackend {
  readonly carrier: "session";
  /** Begins; resolves once packets can pass. */
  start(session: BackendSession): Promise<RunningBackend>;
}

/** A backend chosen and opened for this host. */
export type Backend = KernelBackend | SessionBackend;

/** What a backend may look at while it is opened. */
export interface OpenContext {
  readonly config: NetworkConfig;
  readonly external: ExternalInterface;
  /** The etcd prefix, or the path of the SQLite store: what identifies this network among others on the same host. */
  readonly networkId: string;
  /** The host's devices as they are now. */
  readonly links: readonly Link[];
  /** What this host's lease said when an earlier run last wrote it: what peers know of the host. */
  readonly ownLease?: LeaseAttributes;
  /** What is stable about this host: /etc/machine-id, or empty where there is none. */
  readonly machineId: string;
  /** The daemon's options that backends declare, for those of this backend. */
  readonly options: DeclaredOptions;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
}

/** The outcome of parsing a backend's options. */
export interface ParsedOptions<T> {
  readonly options: T;
  /** The options with all defaults, in the contract's spelling: what `config check` prints. Secrets masked. */
  readonly complete: JsonObject;
  /** The fields that the backend knows, as it declares them by reading them. */
  readonly fields: readonly ConfigField[];
  readonly faults: readonly ConfigFault[];
  /** Keys that mean nothing to this backend. */
  readonly unknownKeys: readonly string[];
}

/** A kind of backend, as the registry lists it. */
export interface BackendType<T = unknown> {
  /** The config's Type, lower case. */
  readonly type: string;
  /**
   * Pure: reads and checks the options of the config's Backend object. Keys match whatever their case.
   *
   * @param enabled The families that the config switches on.
   */
  parse(options: JsonObject, enabled: readonly Family[]): ParsedOptions<T>;
  /** Looks at the host (and the cloud), refuses what can't work, changes nothing yet. */
  open(options: T, context: OpenContext): Promise<Backend>;
  /**
   * What can be seen of this host's part of the network that only the backend knows how to ask for: a cloud's side.
   * For `doctor`: changes nothing, within the context's signal.
   */
  examine?(options: T, context: OpenContext): Promise<readonly Finding[]>;
  /** Files that it keeps on this host, which cleanup removes. */
  files?(): readonly string[];
  /** Takes away what lies outside the kernel (cloud routes); may be called when nothing is there. */
  cleanup?(options: T, context: OpenContext, lease: OwnSubnets): Promise<void>;
}
