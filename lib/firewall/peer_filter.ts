/**
 * A closed overlay: datagrams to the tunnel whose outer source is no live peer are dropped before the tunnel
 * sees them.
 *
 * The peers' addresses are a set in a table of its own, which only this module writes.
 *
 * @module
 */
import type { Ip } from "../net/ip.ts";
import type { Log } from "../observe/types.ts";
import { CommandError, type CommandRunner, systemRunner } from "./command.ts";
import { blindProbe, type HostProbe, systemProbe } from "./host_probe.ts";
import { keepAt, Turns } from "./loop.ts";
import { firewallNames } from "./names.ts";
import { listTable } from "./nftables.ts";
import {
  differenceScript,
  DROPPED_COUNTER,
  droppedCount,
  filterRemoval,
  filterScript,
  filterSignature,
  listedPeers,
  type PeerFilterTarget,
  type PeerSets,
  peerSets,
} from "./peer_filter_text.ts";
import { detectTools, FirewallUnavailableError } from "./tools.ts";

/** Options of {@link PeerFilter.open}. */
export interface PeerFilterOptions extends PeerFilterTarget {
  /** What tells this network from others on the same host: the etcd prefix or its kin. */
  readonly networkId: string;
  readonly log: Log;
  /** @default programs of this system, in this process's network namespace */
  readonly run?: CommandRunner;
  /** @default this process's network namespace; with a `run` of your own: none */
  readonly probe?: HostProbe;
}

/** Up to so many elements are looked at in every pass in which nftables has changed. */
const FEW_ELEMENTS = 1000;

/** Reading the sets takes nft 5 us an element: more elements are looked at this rarely, which costs 0.1 %. */
const MILLISECONDS_PER_ELEMENT = 5;

/** When the filter was found right, to see later whether anybody may have touched it. */
interface Sighting {
  readonly generation: number | undefined;
  /** In milliseconds, as performance.now(). */
  readonly time: number;
}

/**
 * One network's peer filter. Until the first {@link setPeers} nothing is filtered, or what an earlier process
 * left stays in force. Calls are carried out one after the other.
 */
export class PeerFilter implements Disposable {
  readonly #run: CommandRunner;
  readonly #probe: HostProbe;
  readonly #log: Log;
  readonly #table: string;
  readonly #target: PeerFilterTarget;
  /** What the last {@link setPeers} was given; undefined after {@link remove}. */
  #asked: Iterable<Ip> | undefined;
  /** What is to be in the sets; undefined before the first call and after {@link remove}. */
  #wanted: PeerSets | undefined;
  /** What this process put into the sets; undefined when that isn't sure. */
  #held: PeerSets | undefined;
  #signature = "";
  /** When everything but the sets' elements was found right. */
  #frameRight: Sighting | undefined;
  /** When the elements were. */
  #elementsRight: Sighting | undefined;
  /** Packets that tables dropped which this process has replaced. */
  #droppedBefore = 0;
  /** A write that is asked for and hasn't begun. */
  #pending: Promise<void> | undefined;
  readonly #turns = new Turns();

  private constructor(options: PeerFilterOptions, run: CommandRunner) {
    this.#run = run;
    this.#log = options.log;
    this.#table = firewallNames(options.networkId).peerTable;
    this.#target = options;
    this.#probe = options.probe ?? (options.run ? blindProbe : systemProbe());
  }

  /**
   * @throws {RangeError} If the port isn't 1 to 65535.
   * @throws {FirewallUnavailableError} If this host has no nft that works.
   */
  static async open(options: PeerFilterOptions): Promise<PeerFilter> {
    const { port } = options;
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      throw new RangeError(`The peer filter's port must be 1 to 65535: got ${port}`);
    }
    const run = options.run ?? systemRunner();
    const tools = await detectTools(run);
    if (!tools.nft) {
      const why = tools.problems.join("; ") || "nft isn't installed";
      throw new FirewallUnavailableError(
        `PeerFilter needs nftables: ${why}. Install Debian's package nftables, or take PeerFilter out of the config`,
      );
    }
    return new PeerFilter(options, run);
  }

  /**
   * Lets exactly these addresses send into the tunnel. The first call puts the whole filter in place, in one
   * transaction; later ones write the difference. Calls that come while one is under way are put together.
   *
   * @param addresses The live peers' public addresses; read once, when the write begins.
   * @returns When the kernel has them.
   * @throws {CommandError} If nft fails; the next call or {@link resync} tries again.
   */
  setPeers(addresses: Iterable<Ip>): Promise<void> {
    this.#asked = addresses;
    return this.#pending ??= this.#turns.take(async () => {
      this.#pending = undefined;
      if (!this.#asked) return;
      this.#wanted = peerSets(this.#asked);
      await this.#write(this.#wanted);
    });
  }

  /**
   * How many packets were dropped since this process put the filter in place.
   *
   * @throws {CommandError} If nft fails.
   */
  droppedPackets(): Promise<number> {
    return this.#turns.take(async () => this.#droppedBefore + await this.#readCounter());
  }

  /**
   * Looks whether the filter is as it was left, and puts it back. Costs next to nothing when nothing in
   * nftables changed.
   *
   * @returns Whether anything was written.
   * @throws {CommandError} If nft fails.
   */
  resync(): Promise<boolean> {
    return this.#turns.take(async () => {
      if (!this.#wanted) return false;
      if (this.#held) {
        if (await this.#isRight(this.#held)) return false;
        this.#log.warn("The peer filter had been changed by someone else and was put back");
        this.#held = undefined;
      }
      await this.#write(this.#wanted);
      return true;
    });
  }

  /** Calls {@link resync} every `interval` milliseconds until the signal fires. Never rejects. */
  keep(signal: AbortSignal, interval: number): Promise<void> {
    return keepAt(interval, signal, { log: this.#log, what: "the peer filter" }, () => this.resync());
  }

  /** Removes the filter: the tunnel is open again. Twice is no error. @throws {CommandError} If nft fails. */
  remove(): Promise<void> {
    this.#asked = undefined;
    return this.#turns.take(async () => {
      this.#wanted = undefined;
      this.#droppedBefore += await this.#readCounter();
      this.#held = undefined;
      await this.#nft(`${filterRemoval(this.#table)}\n`);
    });
  }

  /** Closes what was opened. The filter stays in force: an overlay isn't open while its daemon is replaced. */
  [Symbol.dispose](): void {
    this.#probe[Symbol.dispose]();
  }

  async #write(wanted: PeerSets): Promise<void> {
    const held = this.#held;
    if (held) {
      const script = differenceScript(this.#table, held, wanted);
      if (script === "") return;
      const result = await this.#run("nft", ["-f", "-"], script);
      if (result.code === 0) {
        this.#held = wanted;
        return;
      }
      // Somebody else has been at the sets: nothing is known of them any more.
      this.#held = undefined;
    }
    await this.#replace(wanted);
  }

  async #replace(wanted: PeerSets): Promise<void> {
    // What an earlier process's table dropped is not this one's to report.
    if (this.#signature !== "") this.#droppedBefore += await this.#readCounter();
    await this.#nft(filterScript(this.#table, this.#target, wanted));
    const listing = await listTable(this.#run, "inet", this.#table, ["-t"]);
    this.#signature = listing === undefined ? "gone" : filterSignature(listing);
    this.#held = wanted;
    this.#frameRight = undefined;
    this.#elementsRight = { generation: undefined, time: performance.now() };
  }

  /** Whether the filter is as it was left, as far as it is time to look. */
  async #isRight(held: PeerSets): Promise<boolean> {
    const now: Sighting = { generation: this.#probe.generation(), time: performance.now() };
    const changed = (last: Sighting | undefined) =>
      last?.generation === undefined || last.generation !== now.generation;
    if (changed(this.#frameRight)) {
      const listing = await listTable(this.#run, "inet", this.#table, ["-t"]);
      if (listing === undefined || filterSignature(listing) !== this.#signature) return false;
      this.#frameRight = now;
    }
    const elements = [...held.values()].reduce((sum, set) => sum + set.size, 0);
    const since = now.time - (this.#elementsRight?.time ?? 0);
    const due = elements <= FEW_ELEMENTS || since >= elements * MILLISECONDS_PER_ELEMENT;
    if (due && changed(this.#elementsRight)) {
      const listing = await listTable(this.#run, "inet", this.#table);
      if (listing === undefined) return false;
      if (differenceScript(this.#table, listedPeers(listing), held) !== "") return false;
      this.#elementsRight = now;
    }
    return true;
  }

  async #readCounter(): Promise<number> {
    const result = await this.#run("nft", ["-j", "list", "counter", "inet", this.#table, DROPPED_COUNTER]);
    return result.code === 0 ? droppedCount(result.stdout) : 0;
  }

  async #nft(script: string): Promise<void> {
    const result = await this.#run("nft", ["-f", "-"], script);
    if (result.code !== 0) throw new CommandError("nft", ["-f", "-"], result);
  }
}

/**
 * Removes a network's filter, whoever put it there; a host without nft has none.
 *
 * @returns Whether there was one.
 * @throws {CommandError} If nft fails.
 */
export async function removePeerFilter(
  networkId: string,
  run: CommandRunner = systemRunner(),
): Promise<boolean> {
  if (!(await detectTools(run)).nft) return false;
  const { peerTable } = firewallNames(networkId);
  if (await listTable(run, "inet", peerTable, ["-t"]) === undefined) return false;
  const args = ["-f", "-"];
  const result = await run("nft", args, `${filterRemoval(peerTable)}\n`);
  if (result.code !== 0) throw new CommandError("nft", args, result);
  return true;
}
