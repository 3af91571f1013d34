/**
 * The external interface: chosen once, followed for as long as the daemon runs.
 *
 * Which interface it is, is decided at start; its index, MTU and addresses are followed, so that an interface
 * that comes back with another index or address is the same interface.
 *
 * @module
 */
import type { Environment, ExternalInterface } from "../backend/types.ts";
import type { Options } from "../options/table.ts";
import { listAddresses } from "../netlink/address.ts";
import { findLink, listLinks } from "../netlink/link.ts";
import { listRoutes, lookupRoute } from "../netlink/route.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { LinkAddress } from "../netlink/types.ts";
import { FAMILIES, familiesOf, type Family, type PerFamily, perFamily } from "../net/family.ts";
import {
  chooseAddress,
  chooseInterface,
  type HostNetwork,
  type InterfaceChoice,
  InterfaceError,
  isLinkLocal,
} from "../net/interface.ts";
import { formatIp, type Ip, sameIp } from "../net/ip.ts";
import type { Log } from "../observe/types.ts";

/** The options that the choice depends on. */
export type InterfaceOptions = Pick<
  Options,
  "iface" | "ifaceRegex" | "ifaceCanReach" | "publicIp" | "publicIpv6"
>;

/** Reads what the choice depends on from the kernel. */
function readHost(socket: NetlinkSocket): HostNetwork {
  return {
    links: listLinks(socket),
    addresses: listAddresses(socket),
    // Read only when asked for: a host in a large network has thousands.
    get routes() {
      return FAMILIES.flatMap((family) => listRoutes(socket, { family })).filter((route) =>
        route.destination.length === 0
      );
    },
    lookupRoute(ip) {
      const route = lookupRoute(socket, ip);
      if (!route) return undefined;
      return {
        ...(route.linkIndex === undefined ? {} : { linkIndex: route.linkIndex }),
        ...(route.source ? { preferredSource: route.source } : {}),
      };
    },
  };
}

/** -public-ip and -public-ipv6 by family. */
function givenPublicIps({ publicIp, publicIpv6 }: InterfaceOptions): PerFamily<Ip> {
  return { ...(publicIp ? { ipv4: publicIp } : {}), ...(publicIpv6 ? { ipv6: publicIpv6 } : {}) };
}

/** Chooses the interface as the options say, or by the default route. @throws {InterfaceError} */
export function choose(
  socket: NetlinkSocket,
  options: InterfaceOptions,
  families: readonly Family[],
): InterfaceChoice {
  return chooseInterface({
    families,
    ifaces: options.iface,
    patterns: options.ifaceRegex,
    canReach: options.ifaceCanReach,
    publicIps: givenPublicIps(options),
  }, readHost(socket));
}

/** As {@link choose}, with every candidate and its reason in the log. */
export function chooseAndTell(
  socket: NetlinkSocket,
  options: InterfaceOptions,
  families: readonly Family[],
  log: Log,
): ExternalInterface {
  const tell = (candidates: InterfaceChoice["candidates"]) => {
    for (const { name, addresses, taken, reason } of candidates) {
      log.info(`Interface ${name}: ${taken ? "taken" : "not taken"}, ${reason}`, {
        addresses: addresses.join(" "),
      });
    }
  };
  try {
    const { external, candidates } = choose(socket, options, families);
    tell(candidates);
    return external;
  } catch (error) {
    if (error instanceof InterfaceError) tell(error.candidates);
    throw error;
  }
}

/**
 * The interface as it is now. What is away (the link, an address) stays as it was last: that is the best guess of
 * what comes back.
 *
 * @param first The interface as it was chosen: its addresses are gone back to when they are back.
 * @returns The same object as `last` when nothing changed.
 */
export function follow(
  socket: NetlinkSocket,
  options: InterfaceOptions,
  { last, first }: { readonly last: ExternalInterface; readonly first: ExternalInterface },
): ExternalInterface {
  const link = findLink(socket, last.name);
  if (!link) return last;
  const present = listAddresses(socket, { linkIndex: link.index });
  const families = familiesOf(last.addresses);
  const addresses = perFamily(families, (family) => {
    const known = [first.addresses[family.name], last.addresses[family.name]];
    const kept = known.find((ip) => present.some((address) => sameIp(address.ip, ip)));
    return kept ?? chooseAnother(family, present, last.addresses[family.name]!);
  });
  const given = givenPublicIps(options);
  const publicIps = perFamily(families, (family) => given[family.name] ?? addresses[family.name]);
  const now = { name: last.name, index: link.index, mtu: link.mtu, addresses, publicIps };
  return sameExternal(last, now) ? last : now;
}

/**
 * An address in the place of one that is gone: another one of the link, else the old one. A link-local one never
 * takes a global one's place: the kernel makes it by itself, before the address comes that is waited for.
 */
function chooseAnother(family: Family, present: readonly LinkAddress[], gone: Ip): Ip {
  const chosen = chooseAddress(family, present);
  return !chosen || (isLinkLocal(chosen) && !isLinkLocal(gone)) ? gone : chosen;
}

function sameExternal(a: ExternalInterface, b: ExternalInterface): boolean {
  return a.index === b.index && a.mtu === b.mtu &&
    FAMILIES.every(({ name }) =>
      sameIp(a.addresses[name], b.addresses[name]) && sameIp(a.publicIps[name], b.publicIps[name])
    );
}

/** An environment that remembers what it was asked, so that it can be told when an answer changes. */
class KernelEnvironment implements Environment {
  readonly answers = new Map<string, { ip: Ip; onLink: boolean }>();

  constructor(readonly socket: NetlinkSocket, readonly external: ExternalInterface) {}

  isOnLink(ip: Ip): boolean {
    const key = formatIp(ip);
    const known = this.answers.get(key);
    if (known) return known.onLink;
    const onLink = askOnLink(this.socket, this.external, ip);
    this.answers.set(key, { ip, onLink });
    return onLink;
  }
}

function askOnLink(socket: NetlinkSocket, external: ExternalInterface, ip: Ip): boolean {
  const route = lookupRoute(socket, ip);
  return route !== undefined && !route.gateway && route.linkIndex === external.index;
}

/** What a plan depends on, as it is now: answers of the routing tables are kept for the plan's life. */
export function environmentOf(socket: NetlinkSocket, external: ExternalInterface): Environment {
  return new KernelEnvironment(socket, external);
}

/** Whether the routing tables still answer what an environment has told. */
export function sameAnswers(socket: NetlinkSocket, environment: Environment): boolean {
  if (!(environment instanceof KernelEnvironment)) return true;
  for (const { ip, onLink } of environment.answers.values()) {
    if (askOnLink(socket, environment.external, ip) !== onLink) return false;
  }
  return true;
}
