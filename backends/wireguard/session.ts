/**
 * The wireguard backend at work: keeps key, port and peers of its devices.
 *
 * Nothing tells when somebody changes a peer, so the devices are read again and again; how often follows from how long
 * that takes.
 *
 * @module
 */
import type { BackendSession, HostPlan, RunningBackend } from "../../lib/backend/types.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import { messageOf } from "../../lib/errors.ts";
import type { Lease } from "../../lib/leases/types.ts";
import { pause } from "../../lib/time/pause.ts";
import {
  formatEndpoint,
  type WireguardControl,
  type WireguardDevice,
  type WireguardPeer,
} from "../../lib/wireguard/types.ts";
import { PeerTable } from "./peer_table.ts";

/** A device is looked at this often, in milliseconds … */
const LOOK_MS = 1_000;

/** … but takes no more than this share of the time. */
const DUTY = 0.02;

/** How long the devices may take to be there at start, in milliseconds. */
const DEVICE_MS = 10_000;

/** A peer that was sent to, and has not answered a handshake for this long, is a problem. In milliseconds. */
const HANDSHAKE_MS = 15_000;

/** Peers that are named in one message. */
const NAMED = 3;

/** One device, and what a peer needs on it. */
export interface DeviceSetup {
  readonly name: string;
  readonly listenPort: number;
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
  readonly #sent = new Map<string, { bytes: number; since: number }>();
  readonly #ended = new AbortController();
  #privateKey: string;
  #subscription: Disposable | undefined;
  #flushing: Promise<void> | undefined;
  #again = false;
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
    this.#subscription = peers.subscribe((keys) => {
      this.#apply(keys);
      if (this.#looping) this.#flush();
    });
    this.#apply([...peers.peers.keys()]);
    const deadline = performance.now() + DEVICE_MS;
    for (const table of this.#tables) {
      for (;;) {
        try {
          await this.#pass(table);
          break;
        } catch (error) {
          signal.throwIfAborted();
          if (performance.now() > deadline) {
            throw new Error(`The WireGuard device ${table.device} can't be configured: ${messageOf(error)}`, {
              cause: error,
            });
          }
          await pause(50, signal);
        }
      }
    }
    this.#looping = this.#loop(AbortSignal.any([signal, this.#ended.signal]));
    this.#flush();
  }

  replan(_plan: HostPlan, _external: ExternalInterface): void {
    this.#apply([...this.#session.peers.peers.keys()]);
    this.#flush();
  }

  status(): JsonObject {
    const devices = this.#setup.devices.map(({ name, listenPort }) => {
      const device = this.#devices.get(name);
      const peers = device?.peers ?? [];
      return {
        name,
        listenPort,
        publicKey: device?.publicKey ?? null,
        peers: peers.length,
        withHandshake: peers.filter(({ lastHandshake }) => lastHandshake > 0).length,
      };
    });
    return { implementation: this.#setup.implementation, devices };
  }

  /** The devices stay, with their sessions. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscription?.[Symbol.dispose]();
    this.#ended.abort();
    await this.#looping;
    await this.#flushing;
  }

  #apply(keys: readonly string[]): void {
    const { peers } = this.#session;
    for (const key of keys) {
      const lease = peers.peers.get(key);
      this.#setup.devices.forEach(({ peerOf }, index) => {
        const peer = lease && peerOf(lease);
        this.#tables[index]!.set(key, typeof peer === "object" ? peer : undefined);
      });
    }
  }

  #flush(): void {
    this.#again = true;
    this.#flushing ??= this.#flushAll().finally(() => this.#flushing = undefined);
  }

  async #flushAll(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      for (const table of this.#tables) {
        try {
          this.#report(table, await table.flush());
        } catch (error) {
          this.#session.problems.set(
            `wireguard ${table.device}`,
            `cannot be changed, trying again: ${messageOf(error)}`,
          );
        }
      }
    }
  }

  async #loop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const began = performance.now();
      await this.#followKey();
      for (const table of this.#tables) {
        try {
          await this.#pass(table);
        } catch (error) {
          if (signal.aborted) return;
          this.#session.problems.set(
            `wireguard ${table.device}`,
            `cannot be read, trying again: ${messageOf(error)}`,
            { notReady: true },
          );
        }
      }
      await pause(Math.max(LOOK_MS, (performance.now() - began) / DUTY), signal);
    }
  }

  async #pass(table: PeerTable): Promise<void> {
    const { log, metrics } = this.#session;
    const isFirst = !this.#devices.has(table.device);
    const { device, changes, foreign, configured, failures } = await table.pass();
    this.#devices.set(table.device, device);
    if (!isFirst && (changes > 0 || configured)) {
      log.warn(`Device ${table.device} differed and is corrected`, {
        peers: changes,
        foreign,
        key: configured,
      });
      metrics.count(
        "wireguard_corrections_total",
        "Peers and keys of WireGuard devices that others changed",
        {},
        changes,
      );
    }
    this.#report(table, failures);
    this.#judgeHandshakes(table, device);
  }

  #report({ device }: PeerTable, failures: readonly { error: Error }[]): void {
    const { problems } = this.#session;
    if (failures.length === 0) return problems.clear(`wireguard ${device}`, "all peers are written");
    const first = messageOf(failures[0]!.error);
    problems.set(`wireguard ${device}`, `${failures.length} peers can't be written, trying again: ${first}`);
  }

  /** A peer that is sent to and never answers a handshake has another pre-shared key, or its port is closed. */
  #judgeHandshakes(table: PeerTable, { peers }: WireguardDevice): void {
    const now = performance.now();
    const silent: string[] = [];
    for (const { publicKey, sentBytes, lastHandshake, endpoint } of peers) {
      const known = this.#sent.get(publicKey);
      if (lastHandshake > 0 || sentBytes === 0) this.#sent.delete(publicKey);
      else if (!known) this.#sent.set(publicKey, { bytes: sentBytes, since: now });
      else if (now - known.since > HANDSHAKE_MS) {
        silent.push(
          `${table.leaseOf(publicKey) ?? publicKey}${endpoint ? ` at ${formatEndpoint(endpoint)}` : ""}`,
        );
      }
    }
    const key = `wireguard handshakes ${table.device}`;
    if (silent.length === 0) return this.#session.problems.clear(key, "all peers answer");
    const named = silent.sort().slice(0, NAMED).join(", ") +
      (silent.length > NAMED ? ` and ${silent.length - NAMED} more` : "");
    this.#session.problems.set(
      key,
      `no handshake with ${named}: is its UDP port open, and is PSK the same there?`,
    );
  }

  /** `flanneld wireguard rotate` puts another key into the file. */
  async #followKey(): Promise<void> {
    const { problems, log } = this.#session;
    try {
      const key = await this.#setup.readKey();
      problems.clear("wireguard key", "the key file is in order");
      if (key === this.#privateKey) return;
      this.#privateKey = key;
      for (const table of this.#tables) {
        table.rekey(key);
        await table.pass();
      }
      this.#setup.publish(key);
      log.info("The WireGuard key has changed and is published");
    } catch (error) {
      problems.set("wireguard key", messageOf(error));
    }
  }
}
