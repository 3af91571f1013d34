/**
 * Addresses of sockets as the kernel takes them.
 *
 * @module
 */
import { type Ip, ipToBytes } from "../../../lib/net/ip.ts";
import { SOCKET_ADDRESS } from "./structs.ts";

/**
 * The struct sockaddr of an address and port.
 *
 * @param linkIndex The interface that link-local IPv6 addresses belong to (their scope).
 */
export function socketAddress(ip: Ip, port: number, linkIndex: number): Uint8Array<ArrayBuffer> {
  const { family } = ip;
  const format = SOCKET_ADDRESS[family.name];
  const bytes = new Uint8Array(new ArrayBuffer(format.size));
  const view = new DataView(bytes.buffer);
  view.setUint16(format.family, family.af, true);
  view.setUint16(format.port, port);
  bytes.set(ipToBytes(ip), format.address);
  if ("scope" in format && isLinkLocal(bytes, format.address)) view.setUint32(format.scope, linkIndex, true);
  return bytes;
}

/** Whether the IPv6 address at `at` lies in fe80::/10. */
function isLinkLocal(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0xfe && (bytes[at + 1]! & 0xc0) === 0x80;
}
