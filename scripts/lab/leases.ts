/**
 * A lab's leases as they stand in its etcd, and peers that exist only there.
 *
 * @module
 */
import type { Lab } from "./lab.ts";
import { PREFIX } from "./store.ts";

/** Where leases are. */
export const SUBNETS = `${PREFIX}/subnets/`;

/** Every lease: its key below {@link SUBNETS}, and its value as it stands there. */
export async function readLeases(lab: Lab): Promise<ReadonlyMap<string, string>> {
  const lines = (await lab.etcd.ctl("get", "--prefix", SUBNETS)).split("\n");
  const leases = new Map<string, string>();
  for (let at = 0; at + 1 < lines.length; at += 2) {
    leases.set(lines[at]!.slice(SUBNETS.length), lines[at + 1]!);
  }
  return leases;
}

/** Writes any key below {@link SUBNETS}: a lease of a peer that isn't there, or nonsense. */
export async function putLease(lab: Lab, key: string, value: string): Promise<void> {
  await lab.etcd.ctl("put", "--", SUBNETS + key, value);
}

/** Deletes a key below {@link SUBNETS}. */
export async function deleteLease(lab: Lab, key: string): Promise<void> {
  await lab.etcd.ctl("del", SUBNETS + key);
}

/** The value of a vxlan peer's lease. */
export function vxlanValue(publicIp: string, mac: string): string {
  return `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"vxlan",` +
    `"BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;
}

/** The key of a subnet as it stands in a subnet file: `10.5.72.1/24` → `10.5.72.0-24`. */
export function leaseKey(subnet: string): string {
  const [address, length] = subnet.split("/");
  return `${address!.replace(/\.\d+$/, ".0")}-${length}`;
}
