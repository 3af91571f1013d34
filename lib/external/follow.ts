/**
 * Following the external interface for as long as the daemon runs.
 *
 * Which interface it is, is decided at start. Its name, index, MTU and addresses may change: an interface that comes
 * back with another index is the same interface, and so is one that was renamed. What is away stays as it was last:
 * that is the best guess of what comes back.
 *
 * @module
 */
import type { Link, LinkAddress } from "../netlink/types.ts";
import {
  FAMILIES,
  familiesOf,
  type Family,
  type FamilyName,
  type PerFamily,
  perFamily,
} from "../net/family.ts";
import { formatIp, type Ip, sameIp } from "../net/ip.ts";
import { compareAddresses, isLinkLocal, isSettled } from "./addresses.ts";
import type { ExternalInterface } from "./types.ts";

/**
 * How long the own address must be away before another one is published that was there beside it, or that stands
 * alone on its link (/32, /128), as a failover's virtual address does. In milliseconds.
 */
const OTHER_ADDRESS_MS = 5_000;

/** How long an address must be there that came after the own one went: the host was given another address. */
const NEW_ADDRESS_MS = 1_000;

/** What of the host is looked at. */
export interface LinkReader {
  /** The link with this name or index. */
  link(nameOrIndex: string | number): Link | undefined;
  addresses(linkIndex: number): readonly LinkAddress[];
}

/** What the interface's owner asked for. */
export interface FollowOptions {
  /** -public-ip and -public-ipv6. */
  readonly publicIps: PerFamily<Ip>;
  /** Addresses that -iface names: they serve whatever the kernel says of them. */
  readonly named: readonly Ip[];
}

/** The interface, and when to look again though nothing happens. */
export interface Followed {
  /** The same object as before if nothing changed. */
  readonly external: ExternalInterface;
  /** In milliseconds; absent when only a change of the host can change the answer. */
  readonly again?: number;
}

/** See the module's text. */
export class ExternalFollower {
  readonly #first: ExternalInterface;
  readonly #publicIps: PerFamily<Ip>;
  readonly #addresses: PerFamily<AddressFollower>;
  #current: ExternalInterface;

  /** @param first The interface as it was chosen: its addresses are gone back to when they are back. */
  constructor(first: ExternalInterface, { publicIps, named }: FollowOptions) {
    this.#first = this.#current = first;
    this.#publicIps = publicIps;
    this.#addresses = perFamily(familiesOf(first.addresses), (family) => {
      return new AddressFollower(family, first.addresses[family.name]!, named);
    });
  }

  /** The interface as of the last {@link refresh}. */
  get current(): ExternalInterface {
    return this.#current;
  }

  /** Looks at the host again. @param now In milliseconds, of any clock that only goes forward. */
  refresh(host: LinkReader, now: number): Followed {
    const link = this.#findLink(host);
    const present = link ? host.addresses(link.index) : [];
    const again: number[] = [];
    const addresses = perFamily(familiesOf(this.#first.addresses), (family) => {
      const wait = this.#addresses[family.name]!.refresh(present, now);
      if (wait !== undefined) again.push(wait);
      return this.#addresses[family.name]!.current;
    });
    const publicIps = perFamily(
      FAMILIES,
      ({ name }) => addresses[name] && (this.#publicIps[name] ?? addresses[name]),
    );
    const { name, index, mtu } = link ?? this.#current;
    const refreshed = { name, index, mtu, addresses, publicIps };
    if (!sameExternal(this.#current, refreshed)) this.#current = refreshed;
    return { external: this.#current, ...(again.length > 0 ? { again: Math.min(...again) } : {}) };
  }

  /** The link by its name, or by its index if somebody renamed it; of two the one with an address of ours. */
  #findLink(host: LinkReader): Link | undefined {
    const { name, index } = this.#current;
    const named = host.link(name) ?? host.link(this.#first.name);
    if (named?.index === index) return named;
    const renamed = host.link(index);
    if (!named || !renamed) return named ?? renamed;
    const own = Object.values(this.#current.addresses);
    const isOurs = host.addresses(renamed.index).some(({ ip }) => own.some((each) => sameIp(each, ip)));
    return isOurs ? renamed : named;
  }
}

/** One family's address on the interface. */
class AddressFollower {
  readonly #family: Family;
  readonly #first: Ip;
  readonly #named: readonly Ip[];
  #current: Ip;
  #awaySince: number | undefined;
  /** Addresses that could serve, and since when; undefined: they were there beside ours. */
  #others = new Map<string, number | undefined>();

  constructor(family: Family, first: Ip, named: readonly Ip[]) {
    this.#family = family;
    this.#first = this.#current = first;
    this.#named = named;
  }

  get current(): Ip {
    return this.#current;
  }

  /** @returns In how many milliseconds to look again. */
  refresh(all: readonly LinkAddress[], now: number): number | undefined {
    const present = all.filter(({ ip }) => ip.family === this.#family);
    const own = [this.#first, this.#current].find((ip) => present.some((each) => this.#serves(each, ip)));
    const since = own ? undefined : now;
    this.#others = new Map(
      present.filter(isSettled).map(({ ip }) => {
        const key = formatIp(ip);
        return [key, !own && this.#others.has(key) ? this.#others.get(key) : since];
      }),
    );
    if (own) {
      this.#current = own;
      this.#awaySince = undefined;
      return undefined;
    }
    this.#awaySince ??= now;
    const other = this.#chooseOther(present);
    if (!other) return undefined;
    const wait = this.#readyAt(other) - now;
    if (wait > 0) return wait;
    this.#current = other.ip;
    this.#awaySince = undefined;
    return undefined;
  }

  /** Whether this is the address `ip`, and others can reach the host at it now. */
  #serves(address: LinkAddress, ip: Ip): boolean {
    if (!sameIp(address.ip, ip)) return false;
    return isSettled(address) || this.#named.some((named) => sameIp(named, ip));
  }

  /**
   * An address that may take the place of ours. A link-local one never takes a global one's place: the kernel makes
   * it by itself, before the address comes that is waited for.
   */
  #chooseOther(present: readonly LinkAddress[]): LinkAddress | undefined {
    const candidates = present.filter((address) =>
      isSettled(address) && (!isLinkLocal(address.ip) || isLinkLocal(this.#current))
    );
    const standsAlone = ({ prefixLength }: LinkAddress) => Number(prefixLength === this.#family.bits);
    return candidates.toSorted((a, b) => standsAlone(a) - standsAlone(b) || compareAddresses(a, b))[0];
  }

  #readyAt({ ip, prefixLength }: LinkAddress): number {
    const came = this.#others.get(formatIp(ip));
    const isNew = came !== undefined && prefixLength < this.#family.bits;
    return Math.max(this.#awaySince!, came ?? 0) + (isNew ? NEW_ADDRESS_MS : OTHER_ADDRESS_MS);
  }
}

function sameExternal(a: ExternalInterface, b: ExternalInterface): boolean {
  const same = (name: FamilyName) =>
    sameIp(a.addresses[name], b.addresses[name]) && sameIp(a.publicIps[name], b.publicIps[name]);
  return a.name === b.name && a.index === b.index && a.mtu === b.mtu &&
    FAMILIES.every(({ name }) => same(name));
}
