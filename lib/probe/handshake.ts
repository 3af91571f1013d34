/**
 * How long ago WireGuard last agreed with a peer on keys.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import { openGenericSocket } from "../netlink/generic.ts";
import { openKernelWireguard } from "../wireguard/kernel.ts";
import type { WireguardDevice } from "../wireguard/types.ts";
import { UserspaceWireguard } from "../wireguard/uapi.ts";
import { publicKeyOf } from "./lease_data.ts";
import type { ProbeTarget } from "./target.ts";

/** Reads each device at most once in this time, in milliseconds: it shows all of its peers at once. */
const KEEP_MS = 1_000;

/** Gives a function that says how many seconds ago it was; null: never. Undefined where it can't be known. */
export function wireguardAges() {
  const read = new Map<
    string,
    { readonly at: number; readonly device: Promise<WireguardDevice | undefined> }
  >();
  return async (target: ProbeTarget, family: Family, name: string): Promise<number | null | undefined> => {
    const key = publicKeyOf(target.lease, family);
    if (key === undefined) return undefined;
    let known = read.get(name);
    if (!known || performance.now() - known.at > KEEP_MS) {
      read.set(name, known = { at: performance.now(), device: readDevice(name) });
    }
    const peer = (await known.device)?.peers.find(({ publicKey }) => publicKey === key);
    if (!peer) return undefined;
    return peer.lastHandshake === 0 ? null : Math.max(0, Math.round(Date.now() / 1000 - peer.lastHandshake));
  };
}

/** Of the kernel, or of a program in user space; undefined where neither has such a device. */
async function readDevice(name: string): Promise<WireguardDevice | undefined> {
  try {
    using socket = openGenericSocket();
    const kernel = await openKernelWireguard(socket)?.read(name);
    if (kernel) return kernel;
  } catch {
    // Not a device of the kernel's.
  }
  return await new UserspaceWireguard().read(name).catch(() => undefined);
}
