/**
 * What of a device's peers is wrong, in words.
 *
 * @module
 */
import { messageOf } from "../../lib/errors.ts";
import { EADDRINUSE, SystemError } from "../../lib/ffi/errno.ts";
import type { ProblemReporter } from "../../lib/observe/types.ts";
import { formatEndpoint, type WireguardDevice } from "../../lib/wireguard/types.ts";
import type { PeerTable } from "./peer_table.ts";

/** Peers that are named in one message. */
const NAMED = 3;

/** A peer that is sent to and never answers is down, has another pre-shared key, or its port is closed. */
export function reportSilent(
  problems: ProblemReporter,
  table: PeerTable,
  { peers }: WireguardDevice,
  silent: readonly string[],
): void {
  const key = `wireguard handshakes ${table.device}`;
  if (silent.length === 0) return problems.clear(key, "all peers answer");
  const endpoints = new Map(peers.map(({ publicKey, endpoint }) => [publicKey, endpoint]));
  const names = silent.map((publicKey) => {
    const endpoint = endpoints.get(publicKey);
    return `${table.leaseOf(publicKey) ?? publicKey}${endpoint ? ` at ${formatEndpoint(endpoint)}` : ""}`;
  }).sort();
  const named = names.slice(0, NAMED).join(", ") +
    (names.length > NAMED ? ` and ${names.length - NAMED} more` : "");
  problems.set(key, `no answer from ${named}: is its UDP port open, and is PSK the same there?`);
}

/** As with hosts made from one image that had a key already: each would get what is meant for the other. */
export function reportShared(problems: ProblemReporter, { device, sharedKeys }: PeerTable): void {
  const key = `wireguard keys ${device}`;
  const [first] = sharedKeys;
  if (!first) return problems.clear(key, "every peer has a key of its own");
  const more = sharedKeys.length > 1 ? ` (and ${sharedKeys.length - 1} more keys)` : "";
  problems.set(
    key,
    `${first.join(" and ")} have one PublicKey${more}: only the newest is reached. ` +
      "Run flanneld wireguard rotate on all of them but one",
  );
}

/** Why a device can't be kept, with what to do where that is known. */
export function reasonOf(
  error: unknown,
  { listenPort, portKey }: { readonly listenPort: number; readonly portKey: string },
): string {
  if (!(error instanceof SystemError) || error.errno !== EADDRINUSE) return messageOf(error);
  return `UDP port ${listenPort} is in use: end the program that has it (ss -ulnp), or set Backend.${portKey}`;
}
