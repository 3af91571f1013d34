/**
 * Where implementations of WireGuard in user space listen. By itself: whoever only asks whether a socket is there
 * needs no keys, and node:crypto under them.
 *
 * @module
 */

/** Where implementations put their sockets. */
const SOCKET_FOLDER = "/var/run/wireguard";

/** The socket of a device. */
export function socketPath(device: string): string {
  return `${SOCKET_FOLDER}/${device}.sock`;
}
