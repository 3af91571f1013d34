/**
 * WireGuard in user space on hosts that share this machine's files: each sees a /var/run/wireguard and a key file of its
 * own, as real hosts do.
 *
 * @module
 */
import type { Host, StartOptions } from "./host.ts";

/** The host's key file. */
export function keyFile(host: Host): string {
  return `${host.folder}/wgkey`;
}

/** What stands before a command that is to see the host's own sockets. */
export function ownSockets(host: Host): string[] {
  const sockets = `${host.folder}/wireguard`;
  const script = 'mkdir -p "$0" /var/run/wireguard && mount --bind "$0" /var/run/wireguard && exec "$@"';
  return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, sockets];
}

/** Options to start a daemon with. */
export function ownWireguard(host: Host): Required<Pick<StartOptions, "wrap" | "env">> {
  return { wrap: ownSockets(host), env: { WIREGUARD_KEY_FILE: keyFile(host) } };
}
