/**
 * Socket addresses of both families as the kernel wants them.
 *
 * @module
 */
import { type Family, IPV4 } from "../net/family.ts";
import { type Ip, ipToBytes } from "../net/ip.ts";

/**
 * Where the address stands in struct sockaddr_in { u16 family; be16 port; u8 addr[4]; u8 zero[8]; } and
 * struct sockaddr_in6 { u16 family; be16 port; be32 flowinfo; u8 addr[16]; u32 scope; }.
 */
export function addressOffset(family: Family): number {
  return family === IPV4 ? 4 : 8;
}

/** An address with a port; without one the family's "any". */
export function socketAddress(family: Family, ip?: Ip, port = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(family === IPV4 ? 16 : 28));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family.af, true);
  view.setUint16(2, port);
  if (ip) bytes.set(ipToBytes(ip), addressOffset(family));
  return bytes;
}
