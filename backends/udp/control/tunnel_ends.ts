/**
 * The two ends of the tunnel on this host: the TUN's queue, and a UDP socket for each address family.
 *
 * @module
 */
import type { ExternalInterface } from "../../../lib/external/types.ts";
import { SystemError } from "../../../lib/ffi/errno.ts";
import { closeFd } from "../../../lib/ffi/fd.ts";
import { familiesOf, type Family, type PerFamily, perFamily } from "../../../lib/net/family.ts";
import { sameIp } from "../../../lib/net/ip.ts";
import type { Offloads } from "../shared/offloads.ts";
import { attachTun, NoTunError, type TunQueue } from "./tun_queue.ts";
import { openUdpSocket, type UdpSocket } from "./udp_socket.ts";

/** What to make the ends for. */
export interface EndsSetup {
  /** The network's families. */
  readonly families: readonly Family[];
  readonly device: string;
  /** The port that this host listens on; 0: any. */
  readonly port: number;
  /** The offloads that may be used. */
  readonly offloads: Offloads;
}

/** Open descriptors, and what can be done with them. */
export interface TunnelEnds {
  readonly queue: TunQueue;
  /** Of the families in which the external interface has an address. */
  readonly sockets: PerFamily<UdpSocket>;
  /** What is wanted and what there is. */
  readonly offloads: Offloads;
}

/** The external interface lost its addresses; it may get some again. */
class NoAddressError extends Error {
  override readonly name = "NoAddressError";
}

/**
 * Opens both ends.
 *
 * @throws {NoAddressError} If the interface has no address in any family of the network.
 * @throws {NoTunError} If the device isn't there (yet).
 * @throws {SystemError} As socket(2), bind(2) and the TUN's ioctl(2).
 */
export function openEnds(setup: EndsSetup, external: ExternalInterface): TunnelEnds {
  const { families, device, offloads } = setup;
  const sockets = openSockets(setup, external);
  const first = Object.values(sockets)[0];
  if (!first) {
    const labels = families.map(({ label }) => label).join(" or ");
    throw new NoAddressError(`The interface ${external.name} has no ${labels} address`);
  }
  try {
    const queue = attachTun(device, offloads, first.fd);
    return { queue, sockets, offloads: inForce(offloads, queue, Object.values(sockets)) };
  } catch (error) {
    closeSockets(sockets);
    throw error;
  }
}

function openSockets(
  { families, port, offloads }: EndsSetup,
  { addresses, index }: ExternalInterface,
): PerFamily<UdpSocket> {
  const open: UdpSocket[] = [];
  try {
    return perFamily(families, ({ name }) => {
      const address = addresses[name];
      if (!address) return undefined;
      const socket = openUdpSocket(address, port, index, offloads);
      open.push(socket);
      return socket;
    });
  } catch (error) {
    for (const { fd } of open) closeFd(fd);
    throw error;
  }
}

function closeSockets(sockets: PerFamily<UdpSocket>): void {
  for (const { fd } of Object.values(sockets)) closeFd(fd);
}

/** Closes both ends. */
export function closeEnds({ queue, sockets }: TunnelEnds): void {
  closeFd(queue.fd);
  closeSockets(sockets);
}

function inForce(wanted: Offloads, queue: TunQueue, sockets: readonly UdpSocket[]): Offloads {
  return {
    vnetHeader: queue.vnetHeader,
    uso: queue.uso,
    segment: sockets.every(({ segment }) => segment),
    gro: sockets.every(({ gro }) => gro),
    mergeTcp: wanted.mergeTcp && queue.vnetHeader,
    mergeUdp: wanted.mergeUdp && queue.uso,
    batch: wanted.batch,
  };
}

/** Whether waiting may help: the device isn't made yet, the address isn't there yet, a predecessor isn't gone yet. */
export function mayPass(error: unknown): boolean {
  return error instanceof NoTunError || error instanceof NoAddressError || error instanceof SystemError;
}

/** Whether sockets must be opened again: an address came, went or changed. */
export function mustReopen(
  families: readonly Family[],
  before: ExternalInterface,
  now: ExternalInterface,
): boolean {
  return families.some(({ name }) => !sameIp(before.addresses[name], now.addresses[name]));
}

/** The families that wait for an address. */
export function waitingFamilies(families: readonly Family[], { sockets }: TunnelEnds): Family[] {
  const open = familiesOf(sockets);
  return families.filter((family) => !open.includes(family));
}
