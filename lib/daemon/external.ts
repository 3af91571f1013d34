/**
 * The external interface as the daemon's options ask for it: read from the kernel, chosen, followed.
 *
 * @module
 */
import type { Environment } from "../backend/types.ts";
import { chooseInterface } from "../external/choice.ts";
import { ExternalFollower, type LinkReader } from "../external/follow.ts";
import { OnLinkAnswers } from "../external/on_link.ts";
import {
  type ExternalInterface,
  type HostNetwork,
  type InterfaceChoice,
  InterfaceError,
} from "../external/types.ts";
import { listAddresses } from "../netlink/address.ts";
import { IFA_F_TENTATIVE } from "../netlink/constants.ts";
import { findLink, listLinks } from "../netlink/link.ts";
import { listRoutes, lookupRoute } from "../netlink/route.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import { FAMILIES, familiesOf, type Family, type PerFamily } from "../net/family.ts";
import { formatIp, type Ip, sameIp, tryParseIp } from "../net/ip.ts";
import type { Log } from "../observe/types.ts";
import type { Options } from "../options/table.ts";
import { pause } from "../time/pause.ts";

/**
 * How long the start waits for duplicate address detection, which takes 1 to 2 s (RFC 4862, 5.4), and for an interface or
 * address that is away for a moment.
 */
const SETTLE_LIMIT_MS = 5_000;
const SETTLE_POLL_MS = 100;

/** The options that the choice depends on. */
export type InterfaceOptions = Pick<
  Options,
  "iface" | "ifaceRegex" | "ifaceCanReach" | "publicIp" | "publicIpv6"
>;

/** Logs the external interface as it is now. */
export function logChange({ name, index, mtu, addresses }: ExternalInterface, log: Log): void {
  const texts = familiesOf(addresses).map((family) => formatIp(addresses[family.name]!));
  log.warn("The external interface changed", { interface: name, index, mtu, addresses: texts.join(" ") });
}

/** Reads what the choice depends on from the kernel. */
function readHost(socket: NetlinkSocket): HostNetwork {
  return {
    links: listLinks(socket),
    addresses: listAddresses(socket),
    // Read only when asked for: a host in a large network has thousands.
    get routes() {
      const where = ({ destination }: { destination: { length: number } }) => destination.length === 0;
      return FAMILIES.flatMap((family) => listRoutes(socket, { family, where }));
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
export function chooseExternal(
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

/**
 * As {@link chooseExternal}, with every candidate and its reason in the log. Waits a moment while none fits (it may get
 * another address just now), and while an address that fits is tentative: the kernel doesn't use it before, and may find
 * that another host has it.
 *
 * @throws {InterfaceError} If none fits after {@link SETTLE_LIMIT_MS}. @throws The signal's reason.
 */
export async function settleExternal(
  socket: NetlinkSocket,
  options: InterfaceOptions,
  families: readonly Family[],
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<ExternalInterface> {
  let deadline: number | undefined;
  let isWarned = false;
  for (;;) {
    const choice = tryChoose(socket, options, families);
    // From the first look on, which itself may have waited for the kernel.
    deadline ??= performance.now() + SETTLE_LIMIT_MS;
    const isLate = performance.now() >= deadline;
    if (choice instanceof InterfaceError) {
      if (isLate) {
        logCandidates(choice.candidates, log);
        throw choice;
      }
      if (!isWarned) {
        log.warn(`Waiting up to ${SETTLE_LIMIT_MS / 1000} s for an interface: ${choice.message}`);
      }
      isWarned = true;
    } else if (isLate || !isTentative(socket, choice.external)) {
      logCandidates(choice.candidates, log);
      return choice.external;
    }
    await pause(SETTLE_POLL_MS, signal);
    signal.throwIfAborted();
  }
}

function tryChoose(
  socket: NetlinkSocket,
  options: InterfaceOptions,
  families: readonly Family[],
): InterfaceChoice | InterfaceError {
  try {
    return chooseExternal(socket, options, families);
  } catch (error) {
    if (error instanceof InterfaceError) return error;
    throw error;
  }
}

function logCandidates(candidates: InterfaceChoice["candidates"], log: Log): void {
  for (const { name, addresses, taken, reason } of candidates) {
    log.info(`Interface ${name}: ${taken ? "taken" : "not taken"}, ${reason}`, {
      addresses: addresses.join(" "),
    });
  }
}

function isTentative(socket: NetlinkSocket, { index: linkIndex, addresses }: ExternalInterface): boolean {
  return listAddresses(socket, { linkIndex }).some(({ ip, flags }) =>
    (flags & IFA_F_TENTATIVE) !== 0 && sameIp(ip, addresses[ip.family.name])
  );
}

/** Follows the interface that was chosen by the same options. */
export function followExternal(external: ExternalInterface, options: InterfaceOptions): ExternalFollower {
  const named = options.iface.flatMap((text) => tryParseIp(text) ?? []);
  return new ExternalFollower(external, { publicIps: givenPublicIps(options), named });
}

/** The kernel's links and addresses. */
export function linkReader(socket: NetlinkSocket): LinkReader {
  return {
    link: (nameOrIndex) => findLink(socket, nameOrIndex),
    addresses: (linkIndex) => listAddresses(socket, { linkIndex }),
  };
}

/** What a plan depends on, as it is now. */
export class KernelEnvironment implements Environment {
  readonly external: ExternalInterface;
  readonly #answers: OnLinkAnswers;

  constructor(socket: NetlinkSocket, external: ExternalInterface) {
    this.external = external;
    this.#answers = new OnLinkAnswers(socket, external.index);
  }

  isOnLink(ip: Ip): boolean {
    return this.#answers.isOnLink(ip);
  }

  /** Whether a plan that was made with this would be the same now, the interface aside. */
  isCurrent(): boolean {
    return this.#answers.areCurrent();
  }
}
