/**
 * The peers of one device: the desired ones, compared with what the device has.
 *
 * A change of a lease costs that peer. A pass reads the whole device and writes only what differs, without ever
 * replacing all peers: sessions go on. WireGuard follows peers that roam, so an endpoint is written where a lease
 * names another one than before, and where {@link PeerWatch} says so.
 *
 * @module
 */
import { FAMILIES } from "../../lib/net/family.ts";
import { sameIp } from "../../lib/net/ip.ts";
import { formatPrefix, type Prefix, samePrefix } from "../../lib/net/prefix.ts";
import { Turns } from "../../lib/time/turns.ts";
import { publicKeyOf } from "../../lib/wireguard/keys.ts";
import type {
  Endpoint,
  PeerChange,
  PeerFailure,
  WireguardControl,
  WireguardDevice,
  WireguardPeer,
  WireguardPeerState,
} from "../../lib/wireguard/types.ts";
import { Greetings } from "./greetings.ts";
import { PeerWatch, sameEndpoint } from "./peer_watch.ts";

/** What one pass found and did. */
export interface PassResult {
  readonly device: WireguardDevice;
  /** Peers that were not as an earlier pass or flush had left them. */
  readonly corrected: number;
  /** Peers on the device that nobody asked for. */
  readonly foreign: number;
  /** Whether key or port were set: the device is new, or somebody changed it. */
  readonly configured: boolean;
  /** Public keys of peers that are sent to and don't answer. */
  readonly silent: readonly string[];
  readonly failures: readonly PeerFailure[];
}

/**
 * So many handshakes are started at once; further peers get theirs with their first packet, as WireGuard does it by
 * itself. A host that joins thousands must not make all of them answer at the same moment.
 */
const GREETED_AT_ONCE = 100;

/** See the module's text. */
export class PeerTable {
  readonly device: string;
  readonly #control: WireguardControl;
  readonly #listenPort: number;
  #privateKey: string;
  /** What each lease asks for, the newest last: a key may stand in two leases for a while. */
  readonly #claims = new Map<string, Map<string, WireguardPeer>>();
  readonly #keyOf = new Map<string, string>();
  /** Keys whose claims changed since they were last written. */
  readonly #dirty = new Set<string>();
  /** The endpoint that each key was last given. */
  readonly #given = new Map<string, Endpoint | undefined>();
  readonly #watch = new PeerWatch();
  readonly #greetings = new Greetings();
  /** A pass must not read what a flush is writing. */
  readonly #turns = new Turns();
  #passed = false;

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

  /** How many peers are desired. */
  get size(): number {
    return this.#claims.size;
  }

  /** What a lease asks for from now on; undefined: nothing. {@link flush} or the next {@link pass} makes it true. */
  set(lease: string, peer: WireguardPeer | undefined): void {
    const before = this.#keyOf.get(lease);
    const held = before === undefined ? undefined : this.#claims.get(before)?.get(lease);
    if (held && peer && samePeer(held, peer) && sameEndpoint(held.endpoint, peer.endpoint)) return;
    if (before !== undefined) this.#release(lease, before);
    if (!peer) return;
    const { publicKey } = peer;
    this.#keyOf.set(lease, publicKey);
    const claims = this.#claims.get(publicKey) ?? new Map<string, WireguardPeer>();
    this.#claims.set(publicKey, claims.set(lease, peer));
    this.#dirty.add(publicKey);
  }

  /** The public key that a lease names. */
  keyOf(lease: string): string | undefined {
    return this.#keyOf.get(lease);
  }

  /** The lease that a key belongs to. */
  leaseOf(publicKey: string): string | undefined {
    return [...this.#claims.get(publicKey)?.keys() ?? []].at(-1);
  }

  /** Leases of different addresses with one key, each as long as the device can send to one of them only. */
  get sharedKeys(): readonly (readonly string[])[] {
    return [...this.#claims.values()].filter((claims) => {
      if (claims.size < 2) return false;
      const [first, ...others] = [...claims.values()].map(({ endpoint }) => endpoint?.ip);
      return others.some((ip) => !sameIp(ip, first));
    }).map((claims) => [...claims.keys()]);
  }

  /** Gives the device another private key, and begins sessions under it. @throws {Error} If the device refuses it. */
  async rekey(privateKey: string): Promise<void> {
    this.#privateKey = privateKey;
    await this.#control.configure(this.device, { privateKey });
    await this.#apply(
      [...this.#given.keys()].flatMap((key) => this.#wanted(key) ?? []).slice(0, GREETED_AT_ONCE)
        .map((peer) => ({ verb: "set", peer: withoutEndpoint(peer), greet: true })),
    );
  }

  /** Writes what changed since the last flush or pass. */
  flush(now: number = performance.now()): Promise<readonly PeerFailure[]> {
    return this.#turns.take(() => {
      const keys = [...this.#dirty];
      this.#dirty.clear();
      return this.#apply(this.#changesTo(keys, now));
    });
  }

  /** This host is reached another way from now on: peers that have not answered are greeted again by next passes. */
  greetAgain(): void {
    this.#greetings.restart();
  }

  /** Compares everything with the device, and writes what differs. @throws {Error} If the device can't be read. */
  pass(now: number = performance.now()): Promise<PassResult> {
    return this.#turns.take(() => this.#pass(now));
  }

  async #pass(now: number): Promise<PassResult> {
    const device = await this.#control.read(this.device);
    const configured = device.publicKey !== publicKeyOf(this.#privateKey) ||
      device.listenPort !== this.#listenPort;
    if (configured) {
      await this.#control.configure(this.device, {
        privateKey: this.#privateKey,
        listenPort: this.#listenPort,
      });
    }
    // What a former run left is compared with the device: it may be right already.
    const asked = this.#passed ? new Set(this.#dirty) : new Set<string>();
    this.#dirty.clear();
    const former = this.#passed ? [] : this.#ofAnotherConfig(device);
    await this.#apply(former.map((publicKey) => ({ verb: "remove", publicKey })));
    const peers = device.peers.filter(({ publicKey }) => !former.includes(publicKey));
    const { found, foreign } = this.#compare(peers);
    const { lost, silent } = this.#watch.look(peers, (key) => this.#wanted(key)?.endpoint, now);
    for (const key of lost) {
      found.add(key);
      this.#given.delete(key);
    }
    const corrected = [...found].filter((key) => !asked.has(key)).length;
    this.#passed = true;
    const changes = this.#changesTo([...new Set([...asked, ...found])], now);
    const failures = await this.#apply([...changes, ...this.#greetingsAnew(device, now)]);
    return { device, corrected, foreign, configured, silent, failures };
  }

  /**
   * The keys of peers that a former run left with another port or Mode. All devices of a host have one key: under a
   * former Mode the peer's other device may have begun the session, and what is sent in it can't be read by the one
   * that is wanted now. WireGuard would notice after 15 s.
   */
  #ofAnotherConfig({ listenPort, peers }: WireguardDevice): string[] {
    const isAnotherPort = listenPort !== 0 && listenPort !== this.#listenPort;
    return peers.filter((peer) => {
      const wanted = this.#wanted(peer.publicKey);
      return wanted && (isAnotherPort || !sameFamilies(peer.allowedIps, wanted.allowedIps));
    }).map(({ publicKey }) => publicKey);
  }

  /** Peers whose greeting got no answer, removed and made again. */
  #greetingsAnew({ peers }: WireguardDevice, now: number): PeerChange[] {
    return this.#greetings.unanswered(peers, now).flatMap((publicKey): PeerChange[] => {
      const peer = this.#wanted(publicKey);
      if (!peer) return [];
      this.#watch.forget(publicKey);
      return [{ verb: "remove", publicKey }, { verb: "set", peer, greet: true }];
    });
  }

  /** The keys of which the device has something else than is wanted. */
  #compare(peers: readonly WireguardPeerState[]): { found: Set<string>; foreign: number } {
    const found = new Set<string>(), present = new Set<string>();
    let foreign = 0;
    for (const peer of peers) {
      const { publicKey } = peer;
      present.add(publicKey);
      const wanted = this.#wanted(publicKey);
      if (!wanted) foreign++;
      if (!wanted || !isAsWanted(peer, wanted)) found.add(publicKey);
      // Known from now on, as far as it has an endpoint: that may be where the peer has roamed to.
      if (wanted && peer.endpoint && !this.#given.has(publicKey)) this.#given.set(publicKey, wanted.endpoint);
    }
    for (const key of this.#claims.keys()) {
      if (present.has(key)) continue;
      found.add(key);
      this.#given.delete(key);
    }
    return { found, foreign };
  }

  /** What the leases of a key ask for together: the newest decides, and the subnets of all are the peer's. */
  #wanted(publicKey: string): WireguardPeer | undefined {
    const byLease = this.#claims.get(publicKey);
    if (!byLease) return undefined;
    const claims = [...byLease.values()];
    const newest = claims.at(-1)!;
    if (claims.length === 1) return newest;
    const allowedIps = new Map(
      claims.flatMap((claim) => claim.allowedIps).map((ip) => [formatPrefix(ip), ip]),
    );
    return { ...newest, allowedIps: [...allowedIps.values()] };
  }

  #release(lease: string, publicKey: string): void {
    this.#keyOf.delete(lease);
    const claims = this.#claims.get(publicKey);
    claims?.delete(lease);
    if (claims?.size === 0) this.#claims.delete(publicKey);
    this.#dirty.add(publicKey);
  }

  /**
   * Removals last: a subnet whose host has another key goes over from peer to peer without a gap. A peer that is new
   * to the device is greeted: what it has sent before it was known here is lost, and it would try again only after
   * 5 s (REKEY_TIMEOUT).
   */
  #changesTo(keys: readonly string[], now: number): PeerChange[] {
    let greeted = 0;
    const sets: PeerChange[] = [], removals: PeerChange[] = [];
    for (const publicKey of keys) {
      const peer = this.#wanted(publicKey);
      if (!peer) {
        removals.push({ verb: "remove", publicKey });
        this.#greetings.forget(publicKey);
        continue;
      }
      const isNew = !this.#given.has(publicKey);
      const isMoved = isNew || !sameEndpoint(this.#given.get(publicKey), peer.endpoint);
      const greet = isNew && ++greeted <= GREETED_AT_ONCE;
      if (greet) this.#greetings.begun(publicKey, now);
      sets.push({ verb: "set", peer: isMoved ? peer : withoutEndpoint(peer), ...greet ? { greet } : {} });
    }
    return [...sets, ...removals];
  }

  /** What fails is tried again by the next pass. */
  async #apply(changes: readonly PeerChange[]): Promise<readonly PeerFailure[]> {
    if (changes.length === 0) return [];
    for (const change of changes) {
      if (change.verb === "remove") this.#given.delete(change.publicKey);
      else if (change.peer.endpoint || !this.#given.has(change.peer.publicKey)) {
        this.#given.set(change.peer.publicKey, change.peer.endpoint);
      }
    }
    const failures = await this.#control.apply(this.device, changes);
    for (const { change } of failures) {
      const key = change.verb === "set" ? change.peer.publicKey : change.publicKey;
      this.#given.delete(key);
      this.#dirty.add(key);
    }
    return failures;
  }
}

function withoutEndpoint({ endpoint: _, ...rest }: WireguardPeer): WireguardPeer {
  return rest;
}

function isAsWanted(actual: WireguardPeerState, wanted: WireguardPeer): boolean {
  return samePeer(actual, wanted) && (actual.endpoint !== undefined || wanted.endpoint === undefined);
}

/** Whether both have prefixes of the same families; nothing says nothing. */
function sameFamilies(a: readonly Prefix[], b: readonly Prefix[]): boolean {
  return a.length === 0 ||
    FAMILIES.every((family) =>
      a.some((prefix) => prefix.family === family) === b.some((prefix) => prefix.family === family)
    );
}

/** Whether two peers say the same but for the endpoint. */
function samePeer(a: WireguardPeer, b: WireguardPeer): boolean {
  return a.publicKey === b.publicKey && a.presharedKey === b.presharedKey && a.keepalive === b.keepalive &&
    a.allowedIps.length === b.allowedIps.length &&
    a.allowedIps.every((prefix) => b.allowedIps.some((other) => samePrefix(prefix, other)));
}
