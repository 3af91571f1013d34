/**
 * The peers of one device: what they are to be, compared with what the device has.
 *
 * A change of a lease costs that peer. A pass reads the whole device and writes only what differs, without ever
 * replacing all peers: sessions go on. The endpoint is compared with what was asked for last, not with the device's:
 * WireGuard follows peers that roam.
 *
 * @module
 */
import { samePrefix } from "../../lib/net/prefix.ts";
import { publicKeyOf } from "../../lib/wireguard/keys.ts";
import type {
  PeerChange,
  PeerFailure,
  WireguardControl,
  WireguardDevice,
  WireguardPeer,
  WireguardPeerState,
} from "../../lib/wireguard/types.ts";

/** What one pass found and did. */
export interface PassResult {
  readonly device: WireguardDevice;
  /** Changes that were written, those that failed included. */
  readonly changes: number;
  /** Peers on the device that nobody asked for. */
  readonly foreign: number;
  /** Whether key or port were set: the device is new, or somebody changed it. */
  readonly configured: boolean;
  readonly failures: readonly PeerFailure[];
}

/** See the module's text. */
export class PeerTable {
  readonly device: string;
  readonly #control: WireguardControl;
  readonly #listenPort: number;
  #privateKey: string;
  /** What each lease asks for, the newest last: a key may stand in two leases for a while. */
  readonly #claims = new Map<string, Map<string, WireguardPeer>>();
  readonly #keyOf = new Map<string, string>();
  readonly #dirty = new Set<string>();

  constructor(
    device: string,
    control: WireguardControl,
    { privateKey, listenPort }: { privateKey: string; listenPort: number },
  ) {
    this.device = device;
    this.#control = control;
    this.#privateKey = privateKey;
    this.#listenPort = listenPort;
  }

  /** How many peers there are to be. */
  get size(): number {
    return this.#claims.size;
  }

  /** What a lease asks for from now on; undefined: nothing. {@link flush} or the next {@link pass} makes it true. */
  set(lease: string, peer: WireguardPeer | undefined): void {
    const before = this.#keyOf.get(lease);
    const held = before === undefined ? undefined : this.#claims.get(before)?.get(lease);
    if (held && peer && samePeer(held, peer) && sameEndpoint(held, peer)) return;
    if (before !== undefined) this.#release(lease, before);
    if (!peer) return;
    const { publicKey } = peer;
    this.#keyOf.set(lease, publicKey);
    const claims = this.#claims.get(publicKey) ?? new Map<string, WireguardPeer>();
    this.#claims.set(publicKey, claims.set(lease, peer));
    this.#dirty.add(publicKey);
  }

  /** The lease that a key belongs to. */
  leaseOf(publicKey: string): string | undefined {
    return [...this.#claims.get(publicKey)?.keys() ?? []].at(-1);
  }

  /** Another private key: the device gets it with the next pass. */
  rekey(privateKey: string): void {
    this.#privateKey = privateKey;
  }

  /** Writes what changed since the last flush or pass. */
  async flush(): Promise<readonly PeerFailure[]> {
    const keys = [...this.#dirty];
    this.#dirty.clear();
    return await this.#apply(keys.map((key) => this.#changeTo(key)));
  }

  /** Compares everything with the device, and writes what differs. @throws {Error} If the device can't be read. */
  async pass(): Promise<PassResult> {
    const device = await this.#control.read(this.device);
    const configured = device.publicKey !== publicKeyOf(this.#privateKey) ||
      device.listenPort !== this.#listenPort;
    if (configured) {
      await this.#control.configure(this.device, {
        privateKey: this.#privateKey,
        listenPort: this.#listenPort,
      });
    }
    const changed = new Set(this.#dirty);
    this.#dirty.clear();
    const present = new Set<string>();
    let foreign = 0;
    for (const peer of device.peers) {
      present.add(peer.publicKey);
      const wanted = this.#wanted(peer.publicKey);
      if (!wanted) foreign++;
      if (!wanted || !isAsWanted(peer, wanted)) changed.add(peer.publicKey);
    }
    for (const key of this.#claims.keys()) if (!present.has(key)) changed.add(key);
    const changes = [...changed].map((key) => this.#changeTo(key));
    return { device, changes: changes.length, foreign, configured, failures: await this.#apply(changes) };
  }

  /** The newest claim of a key. */
  #wanted(publicKey: string): WireguardPeer | undefined {
    return [...this.#claims.get(publicKey)?.values() ?? []].at(-1);
  }

  #release(lease: string, publicKey: string): void {
    this.#keyOf.delete(lease);
    const claims = this.#claims.get(publicKey);
    claims?.delete(lease);
    if (claims?.size === 0) this.#claims.delete(publicKey);
    this.#dirty.add(publicKey);
  }

  #changeTo(publicKey: string): PeerChange {
    const peer = this.#wanted(publicKey);
    return peer ? { verb: "set", peer } : { verb: "remove", publicKey };
  }

  /** Removals first: allowed IPs belong to one peer at a time. What fails is tried again by the next pass. */
  async #apply(changes: readonly PeerChange[]): Promise<readonly PeerFailure[]> {
    if (changes.length === 0) return [];
    const removals = changes.filter(({ verb }) => verb === "remove");
    const rest = changes.filter(({ verb }) => verb !== "remove");
    const failures = await this.#control.apply(this.device, [...removals, ...rest]);
    for (const { change } of failures) {
      this.#dirty.add(change.verb === "set" ? change.peer.publicKey : change.publicKey);
    }
    return failures;
  }
}

function isAsWanted(actual: WireguardPeerState, wanted: WireguardPeer): boolean {
  return samePeer(actual, wanted) && (actual.endpoint !== undefined || wanted.endpoint === undefined);
}

/** Whether two peers say the same but for the endpoint. */
function samePeer(a: WireguardPeer, b: WireguardPeer): boolean {
  return a.publicKey === b.publicKey && a.presharedKey === b.presharedKey && a.keepalive === b.keepalive &&
    a.allowedIps.length === b.allowedIps.length &&
    a.allowedIps.every((prefix) => b.allowedIps.some((other) => samePrefix(prefix, other)));
}

function sameEndpoint({ endpoint: a }: WireguardPeer, { endpoint: b }: WireguardPeer): boolean {
  return a?.port === b?.port && a?.ip.value === b?.ip.value && a?.ip.family === b?.ip.family;
}
