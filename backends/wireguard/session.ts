/**
 * The wireguard backend at work: keeps key, port and peers of its devices.
 *
 * No notification comes when somebody changes a peer, so the devices are read again and again; how often follows from how long
 * that takes.
 *
 * @module
 */
import type {
  BackendSession,
  HostPlan,
  LivePeer,
  PeerChanges,
  RunningBackend,
} from "../../lib/backend/types.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import { messageOf } from "../../lib/errors.ts";
import type { Lease } from "../../lib/leases/types.ts";
import { pause } from "../../lib/time/pause.ts";
import { Rounds } from "../../lib/time/rounds.ts";
import type { WireguardControl, WireguardDevice, WireguardPeer } from "../../lib/wireguard/types.ts";
import { publicKeyOf } from "../../lib/wireguard/keys.ts";
import { PeerTable } from "./peer_table.ts";
import { reasonOf, reportShared, reportSilent } from "./reports.ts";
import { WIREGUARD_CORRECTIONS } from "./metrics.ts";

/** Devices and key file are looked at this often, in milliseconds … */
const LOOK_MS = 1_000;

/**
 * … and a device with more peers less often: reading 1,000 of them takes some 20 ms, 2 % of a second. Not by the time
 * that a read took, since on a busy machine that says nothing of its cost.
 */
const PEERS_A_LOOK = 1_000;

/** How long the devices may take to be there at start, in milliseconds. */
const DEVICE_MS = 10_000;

/** One device, and what a peer needs on it. */
export interface DeviceSetup {
  readonly name: string;
  readonly listenPort: number;
  /** The key of the config that has the port, for errors. */
  readonly portKey: string;
  /** The peer, or a sentence that says why it isn't on this device. */
  peerOf(peer: Lease): WireguardPeer | string;
}

/** What a session is made for. */
export interface WireguardSetup {
  readonly control: WireguardControl;
  readonly privateKey: string;
  readonly devices: readonly DeviceSetup[];
  /** For status: `kernel` or the program's name. */
  readonly implementation: string;
  /** For status, and for the command that replaces the key. */
  readonly keyFile: string;
  /** The index of a device; undefined where it isn't there. */
  indexOf(device: string): number | undefined;
  /** Gives back what {@link indexOf} works with. */
  close(): void;
  /** The key as the file has it now: another one than before is taken up. @throws {Error} If it can't be used. */
  readKey(): Promise<string>;
  /** Publishes another public key with the lease. */
  publish(privateKey: string): void;
}

/** See the module's text. */
export class WireguardSession implements RunningBackend {
  readonly #session: BackendSession;
  readonly #setup: WireguardSetup;
  readonly #tables: readonly PeerTable[];
  readonly #devices = new Map<string, WireguardDevice>();
  /** The index with which each device was last read, and when it is to be read again (performance.now()). */
  readonly #reads = new Map<string, { readonly index: number | undefined; readonly next: number }>();
  /** By device: the public keys of peers that are sent to and don't answer. */
  readonly #silent = new Map<string, ReadonlySet<string>>();
  readonly #ended = new AbortController();
  #privateKey: string;
  #subscription: Disposable | undefined;
  readonly #flushes = new Rounds(() => this.#flush());
  #looping: Promise<void> | undefined;

  constructor(session: BackendSession, setup: WireguardSetup) {
    this.#session = session;
    this.#setup = setup;
    this.#privateKey = setup.privateKey;
    this.#tables = setup.devices.map(({ name, listenPort }) =>
      new PeerTable(name, setup.control, { privateKey: setup.privateKey, listenPort })
    );
  }

  /** Configures the devices with all peers; resolves when packets can pass. @throws {Error} If a device stays away. */
  async start(): Promise<void> {
    const { peers, signal } = this.#session;
    // First of all: what changes while the devices are configured is in the next pass.
    this.#subscription = peers.subscribe((changes) => {
      this.#apply(changes);
      if (this.#looping) this.#flushes.ask();
    });
    this.#apply(peers.peers);
    const deadline = performance.now() + DEVICE_MS;
    for (const table of this.#tables) {
      for (;;) {
        try {
          await this.#pass(table);
          break;
        } catch (error) {
          signal.throwIfAborted();
          if (performance.now() > deadline) {
            throw new Error(
              `The WireGuard device ${table.device} can't be configured: ${
                reasonOf(error, this.#setupOf(table))
              }`,
              {
                cause: error,
              },
            );
          }
          await pause(50, signal);
        }
      }
    }
    this.#looping = this.#loop(AbortSignal.any([signal, this.#ended.signal]));
    this.#flushes.ask();
  }

  replan(_plan: HostPlan, _external: ExternalInterface): void {
    this.#apply(this.#session.peers.peers);
    for (const table of this.#tables) table.greetAgain();
    this.#flushes.ask();
  }

  status(): JsonObject {
    const devices = this.#setup.devices.map(({ name, listenPort }) => {
      const device = this.#devices.get(name);
      const peers = device?.peers ?? [];
      return {
        name,
        listenPort,
        publicKey: device ? publicKeyOf(this.#privateKey) : null,
        peers: peers.length,
        withHandshake: peers.filter(({ lastHandshake }) => lastHandshake > 0).length,
      };
    });
    const { implementation, keyFile } = this.#setup;
    return { implementation, keyFile, devices };
  }

  /** As of the last look at the devices. */
  livePeers(): (key: string) => LivePeer | undefined {
    const views = this.#tables.map((table) => {
      const peers = this.#devices.get(table.device)?.peers ?? [];
      const handshakes = new Map(peers.map(({ publicKey, lastHandshake }) => [publicKey, lastHandshake]));
      return { table, handshakes, silent: this.#silent.get(table.device) };
    });
    return (key) => {
      // With a device for each family: the one that waits longest says how the peer is.
      let lastHandshake = Infinity;
      let isSilent = false;
      for (const { table, handshakes, silent } of views) {
        const publicKey = table.keyOf(key);
        if (publicKey === undefined) continue;
        lastHandshake = Math.min(lastHandshake, handshakes.get(publicKey) ?? 0);
        isSilent ||= silent?.has(publicKey) ?? false;
      }
      if (lastHandshake === Infinity) return undefined;
      return { lastHandshake: lastHandshake * 1000, ...isSilent ? { problem: "it doesn't answer" } : {} };
    };
  }

  /** The devices stay, with their sessions. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscription?.[Symbol.dispose]();
    this.#ended.abort();
    await this.#looping;
    await this.#flushes.idle();
    this.#setup.close();
  }

  #apply(changes: PeerChanges): void {
    for (const [key, lease] of changes) {
      this.#setup.devices.forEach(({ peerOf }, index) => {
        const peer = lease && peerOf(lease);
        this.#tables[index]!.set(key, typeof peer === "object" ? peer : undefined);
      });
    }
  }

  async #flush(): Promise<void> {
    for (const table of this.#tables) {
      try {
        this.#report(table, await table.flush());
      } catch (error) {
        this.#session.problems.set(
          `wireguard ${table.device}`,
          `cannot be changed, retrying: ${messageOf(error)}`,
        );
      }
    }
  }

  async #loop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#followKey();
      for (const table of this.#tables) await this.#look(table, signal);
      await pause(LOOK_MS, signal);
    }
  }

  /** Reads a device when it is time to, and at once when it is another one than before: it has no peers yet. */
  async #look(table: PeerTable, signal: AbortSignal): Promise<void> {
    const began = performance.now();
    try {
      const index = this.#setup.indexOf(table.device);
      const last = this.#reads.get(table.device);
      if (last && last.index === index && began < last.next) return;
      await this.#pass(table);
      this.#reads.set(table.device, { index, next: began + LOOK_MS * table.size / PEERS_A_LOOK });
    } catch (error) {
      if (signal.aborted) return;
      this.#reads.delete(table.device);
      this.#session.problems.set(
        `wireguard ${table.device}`,
        `cannot be kept, retrying: ${reasonOf(error, this.#setupOf(table))}`,
        { notReady: true },
      );
    }
  }

  #setupOf({ device }: PeerTable): DeviceSetup {
    return this.#setup.devices.find(({ name }) => name === device)!;
  }

  async #pass(table: PeerTable): Promise<void> {
    const { log, metrics } = this.#session;
    const isFirst = !this.#devices.has(table.device);
    const { device, corrected, foreign, configured, silent, failures } = await table.pass();
    this.#devices.set(table.device, device);
    if (!isFirst && (corrected > 0 || configured)) {
      log.warn(`Device ${table.device} differed and is corrected`, {
        peers: corrected,
        foreign,
        key: configured,
      });
      metrics.count(WIREGUARD_CORRECTIONS, {}, corrected + (configured ? 1 : 0));
    }
    this.#session.problems.clear(`wireguard ${table.device}`, "the device is kept");
    this.#report(table, failures);
    reportSilent(this.#session.problems, table, device, silent);
    reportShared(this.#session.problems, table);
  }

  #report({ device }: PeerTable, failures: readonly { error: Error }[]): void {
    const { problems } = this.#session;
    // Not the device's own key: a change of peers says nothing about whether the device can be read.
    const key = `wireguard peers ${device}`;
    if (failures.length === 0) return problems.clear(key, "all peers are written");
    const first = messageOf(failures[0]!.error);
    problems.set(key, `${failures.length} peers can't be written, retrying: ${first}`);
  }

  /**
   * `flanneld wireguard rotate` puts another key into the file. The devices get it before it is published: packets wait
   * in the device until the peers know it, and what they send meanwhile is still understood.
   */
  async #followKey(): Promise<void> {
    const { problems, log, peersAreCurrent } = this.#session;
    try {
      const key = await this.#setup.readKey();
      if (key !== this.#privateKey) {
        if (!peersAreCurrent()) {
          problems.set(
            "wireguard key",
            "the new key is taken up when the store answers: peers would not learn it",
          );
          return;
        }
        for (const table of this.#tables) await table.rekey(key);
        this.#privateKey = key;
        this.#setup.publish(key);
        log.info("The WireGuard key has changed and is published", { publicKey: publicKeyOf(key) });
      }
      problems.clear("wireguard key", "the key file is in order");
    } catch (error) {
      problems.set("wireguard key", messageOf(error));
    }
  }
}
