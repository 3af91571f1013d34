/**
 * Writes entries to the kernel and takes them away, in batches.
 *
 * A route is added, not replaced, unless one of ours is known to stand in its place. Where the kernel says that
 * there is a route already, {@link ./occupants.ts} decides whether ours may take its place.
 *
 * @module
 */
import type { NetlinkError } from "../netlink/error.ts";
import { listAddresses } from "../netlink/address.ts";
import { nexthopRequest } from "../netlink/nexthop.ts";
import type { NetlinkRequest, NetlinkSocket } from "../netlink/socket.ts";
import { findLink } from "../netlink/link.ts";
import { containsPrefix, formatPrefix, type Prefix, prefixOf } from "../net/prefix.ts";
import type { OwnLink } from "./actual_entries.ts";
import { entryOf, type Operation, type SetOperation } from "./diff.ts";
import type { Nexthops } from "./nexthops.ts";
import { type AnyRouteEntry, describeOccupant, findOccupants, isInPlaceOf, mayReplace } from "./occupants.ts";
import {
  BLACKHOLE_METRIC,
  mayBeInTheWay,
  nexthopOf,
  removeRequest,
  removeRouteRequest,
  setRequest,
} from "./operation_requests.ts";

/** How often another id is tried for a next-hop object whose id somebody else has. */
const NEXTHOP_ATTEMPTS = 5;

/** An operation that wasn't carried out, and why. */
export interface Refusal {
  readonly operation: Operation;
  readonly reason: string;
}

/** What a writer works with. */
export interface EntryWriterOptions {
  readonly socket: NetlinkSocket;
  /** Our networks: a route to anywhere else is never written. */
  readonly networks: readonly Prefix[];
  readonly nexthops: Nexthops;
}

const NO_PREFIXES: ReadonlyMap<string, string> = new Map();

/** Links and other facts that hold for one batch. */
interface Batch {
  linkIndex(name: string): number | undefined;
  /** Next-hop objects that the kernel has made for routes of this batch. */
  readonly nexthopIds: ReadonlyMap<SetOperation, number>;
}

/** See the module's text. */
export class EntryWriter {
  readonly #options: EntryWriterOptions;
  #links: readonly OwnLink[] = [];
  #missing: ReadonlySet<string> = new Set();
  #connected: ReadonlyMap<string, string> | undefined;

  constructor(options: EntryWriterOptions) {
    this.#options = options;
  }

  /** The devices of ours that are there now. */
  get links(): readonly OwnLink[] {
    return this.#links;
  }

  /**
   * Sets the devices of ours that are there now.
   *
   * @param missing Names of those that aren't there: what has such a name now is somebody else's.
   */
  setLinks(links: readonly OwnLink[], missing: readonly string[]): void {
    this.#links = links;
    this.#missing = new Set(missing);
  }

  /** Begins a round of writes: what they depend on of the host is looked at again. */
  startRound(): void {
    this.#connected = undefined;
  }

  /**
   * Carries out operations in their order.
   *
   * @param withNexthops Whether new routes over our devices go through next-hop objects.
   * @returns What failed.
   */
  write(operations: readonly Operation[], withNexthops: boolean): Refusal[] {
    const linkIndex = memoized((name: string) => this.#linkIndex(name));
    const refusals: Refusal[] = [];
    const refuse = this.#judge(operations, linkIndex);
    const allowed = operations.filter((operation) => {
      const reason = refuse(operation);
      if (reason !== undefined) refusals.push({ operation, reason });
      return reason === undefined;
    });
    const nexthopIds = withNexthops ? this.#makeNexthops(allowed, linkIndex) : new Map();
    const batch: Batch = { linkIndex, nexthopIds };
    const failed = new Map<Operation, string>();
    const refused = this.#send(allowed, batch);
    for (const [operation, error] of refused) failed.set(operation, error.message);
    this.#takePlaces(refused, batch, failed);
    this.#settleNexthops(allowed, nexthopIds, failed);
    for (const [operation, reason] of failed) refusals.push({ operation, reason });
    return refusals;
  }

  /** Removes next-hop objects, and with them what routes still use them. */
  removeNexthops(ids: Iterable<number>): void {
    const { socket, nexthops } = this.#options;
    const all = [...ids];
    socket.batch(all.map((id) => nexthopRequest("delete", { id })));
    for (const id of all) nexthops.free(id);
  }

  /** Why operations aren't even tried. */
  #judge(
    operations: readonly Operation[],
    linkIndex: (name: string) => number | undefined,
  ): (operation: Operation) => string | undefined {
    const { networks } = this.#options;
    const writesRoutes = operations.some((operation) =>
      operation.verb === "set" && operation.entry.kind === "route"
    );
    const connected = writesRoutes ? this.#connected ??= this.#connectedPrefixes() : NO_PREFIXES;
    return (operation) => {
      if (operation.verb === "remove") return undefined;
      const { entry } = operation;
      if (entry.kind !== "blackhole" && linkIndex(entry.link) === undefined) return `no link ${entry.link}`;
      if (entry.kind !== "route") return undefined;
      const { destination } = entry;
      if (!networks.some((network) => containsPrefix(network, destination))) {
        return `outside of the network ${networks.map(formatPrefix).join(" and ")}`;
      }
      const link = connected.get(formatPrefix(destination));
      return link === undefined ? undefined : `it is the prefix of ${link} itself`;
    };
  }

  /**
   * Prefixes that the host reaches without a router by links that aren't ours, with the link's name. The kernel's
   * route to one may have a worse metric than ours would have (NetworkManager sets 100), so that it isn't in our
   * way, and would be out of use.
   */
  #connectedPrefixes(): Map<string, string> {
    const { socket } = this.#options;
    const own = new Set(this.#links.map(({ index }) => index));
    const name = memoized((index: number) => findLink(socket, index)?.name ?? `link ${index}`);
    const prefixes = new Map<string, string>();
    for (const { ip, prefixLength, linkIndex } of listAddresses(socket)) {
      if (own.has(linkIndex) || prefixLength === ip.family.bits) continue;
      prefixes.set(formatPrefix(prefixOf(ip, prefixLength)), name(linkIndex));
    }
    return prefixes;
  }

  /** Sends operations; gives those that the kernel refused. */
  #send(
    operations: readonly Operation[],
    batch: Batch,
    replacing: ReadonlySet<Operation> = new Set(),
  ): Map<Operation, NetlinkError> {
    const requests: NetlinkRequest[] = [];
    const sent: Operation[] = [];
    for (const operation of operations) {
      const request = this.#request(operation, batch, replacing.has(operation));
      if (!request) continue;
      requests.push(request);
      sent.push(operation);
    }
    const refused = new Map<Operation, NetlinkError>();
    for (const { index, error } of this.#options.socket.batch(requests)) {
      const operation = sent[index]!;
      if (operation.verb === "set" || !isGone(error)) refused.set(operation, error);
    }
    return refused;
  }

  #request(operation: Operation, batch: Batch, replacing: boolean): NetlinkRequest | undefined {
    const entry = entryOf(operation);
    const linkIndex = entry.kind === "blackhole" ? undefined : batch.linkIndex(entry.link);
    if (operation.verb === "remove") return removeRequest(operation, linkIndex, this.#isOwn(linkIndex));
    return setRequest(entry, {
      linkIndex,
      nexthopId: batch.nexthopIds.get(operation),
      replaces: replacing || operation.replaces,
    });
  }

  /** Tries again the routes in whose place others stand, where ours may take it. */
  #takePlaces(
    refused: ReadonlyMap<Operation, NetlinkError>,
    batch: Batch,
    failed: Map<Operation, string>,
  ): void {
    const hindered = [...refused].flatMap(([operation, { code }]) =>
      operation.verb === "set" && mayBeInTheWay(operation.entry, code) ? [operation] : []
    );
    if (hindered.length === 0) return;
    const { socket } = this.#options;
    const entryOfRoute = (operation: SetOperation) => operation.entry as AnyRouteEntry;
    const occupants = findOccupants(socket, hindered.map(entryOfRoute));
    const own = new Set(this.#links.map(({ index }) => index));
    const clears: NetlinkRequest[] = [];
    const again: SetOperation[] = [];
    for (const operation of hindered) {
      const entry = entryOfRoute(operation);
      const there = occupants.get(formatPrefix(entry.destination))!.filter((route) =>
        isInPlaceOf(route, entry, BLACKHOLE_METRIC)
      );
      const stranger = there.find((route) => !mayReplace(route, entry, own));
      if (stranger) {
        failed.set(operation, describeOccupant(stranger, (index) => findLink(socket, index)?.name));
        continue;
      }
      // What is replaced goes in the same moment; what keeps the kernel from even looking at ours goes before.
      if (refused.get(operation)!.code !== "EEXIST") clears.push(...there.map(removeRouteRequest));
      again.push(operation);
    }
    socket.batch(clears);
    const still = this.#send(again, batch, new Set(again));
    for (const operation of again) {
      const error = still.get(operation);
      if (error) failed.set(operation, error.message);
      else failed.delete(operation);
    }
  }

  /** Makes a next-hop object for each new route that needs one; routes without one are made plain. */
  #makeNexthops(
    operations: readonly Operation[],
    linkIndex: (name: string) => number | undefined,
  ): Map<SetOperation, number> {
    const { socket, nexthops } = this.#options;
    const made = new Map<SetOperation, number>();
    let wanting = operations.flatMap((operation) => {
      if (operation.verb !== "set" || operation.entry.kind !== "route" || !operation.entry.gateway) return [];
      const index = linkIndex(operation.entry.link);
      return this.#isOwn(index) ? [{ operation, entry: operation.entry, index: index! }] : [];
    });
    for (let attempt = 0; attempt < NEXTHOP_ATTEMPTS && wanting.length > 0; attempt++) {
      const ids = wanting.map(() => nexthops.propose());
      const requests = wanting.map(({ entry, index }, i) => nexthopOf(entry, ids[i]!, index));
      const failed = new Map(socket.batch(requests).map(({ index, error }) => [index, error]));
      wanting.forEach(({ operation }, i) => {
        if (!failed.has(i)) made.set(operation, ids[i]!);
      });
      wanting = wanting.filter((_, index) => failed.get(index)?.code === "EEXIST");
    }
    return made;
  }

  /** Notes which route uses which object now, and removes the objects that no route uses any more. */
  #settleNexthops(
    operations: readonly Operation[],
    made: ReadonlyMap<SetOperation, number>,
    failed: ReadonlyMap<Operation, string>,
  ): void {
    const { nexthops } = this.#options;
    const obsolete: (number | undefined)[] = [];
    for (const operation of operations) {
      const route = entryOf(operation);
      if (route.kind !== "route") continue;
      if (operation.verb === "set") {
        const id = made.get(operation);
        obsolete.push(failed.has(operation) ? id : nexthops.assign(route, id));
      } else if (!failed.has(operation) && operation.actual.nexthopId === nexthops.idOf(route)) {
        obsolete.push(nexthops.assign(route, undefined));
      }
    }
    const ids = obsolete.filter((id) => id !== undefined);
    if (ids.length > 0) this.removeNexthops(ids);
  }

  #linkIndex(name: string): number | undefined {
    const own = this.#links.find((link) => link.name === name);
    if (own || this.#missing.has(name)) return own?.index;
    return findLink(this.#options.socket, name)?.index;
  }

  #isOwn(index: number | undefined): boolean {
    return index !== undefined && this.#links.some((link) => link.index === index);
  }
}

/** What was to be removed is not there any more. */
function isGone(error: NetlinkError): boolean {
  return ["ENOENT", "ESRCH", "ENODEV", "EADDRNOTAVAIL"].includes(error.code);
}

function memoized<K, V>(compute: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    if (!known.has(key)) known.set(key, compute(key));
    return known.get(key)!;
  };
}
