/**
 * Which peers don't answer, and whose endpoint isn't theirs: seen from what a device counts between two looks.
 *
 * A peer that roams shows itself: WireGuard takes over its new endpoint with a packet that it has received. An
 * endpoint that changed without one was set by somebody. An endpoint from which nothing comes back any more is left
 * for the lease's.
 *
 * @module
 */
import { sameIp } from "../../lib/net/ip.ts";
import type { Endpoint, WireguardPeerState } from "../../lib/wireguard/types.ts";

/**
 * A peer that is sent to answers within this time, in milliseconds: with data, or with a keepalive after 10 s; WireGuard
 * itself begins anew after 15 s (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT).
 */
const SILENT_MS = 15_000;

/** The same where a former run left an endpoint that isn't the lease's: the peer may have another one since. */
const SILENT_AT_FIRST_MS = 3_000;

/** Whoever isn't sent to for so long isn't known to be silent any more, in milliseconds. */
const FORGET_MS = 60_000;

/** What is known of a peer; counters in bytes, times in milliseconds. */
interface Seen {
  received: number;
  sent: number;
  endpoint: Endpoint | undefined;
  /** When it was first sent to without an answer since. */
  since: number | undefined;
  sentAt: number;
  /** Whether something came from this endpoint while it was watched. */
  isProven: boolean;
}

/** What a look found: public keys. */
export interface Look {
  /** Peers whose endpoint is to be the lease's again. */
  readonly lost: readonly string[];
  /** Peers that are sent to and don't answer. */
  readonly silent: readonly string[];
}

/** See the module's text. */
export class PeerWatch {
  #seen = new Map<string, Seen>();

  /**
   * @param endpointOf What the lease of a peer names.
   * @param now In milliseconds, as performance.now().
   */
  look(
    peers: readonly WireguardPeerState[],
    endpointOf: (publicKey: string) => Endpoint | undefined,
    now: number,
  ): Look {
    const lost: string[] = [], silent: string[] = [];
    const seen = new Map<string, Seen>();
    for (const peer of peers) {
      const { publicKey } = peer;
      const before = this.#seen.get(publicKey);
      const after = before ?? first(peer, now);
      seen.set(publicKey, after);
      const wasSet = before !== undefined && follow(before, peer, now);
      const silence = after.since === undefined ? 0 : now - after.since;
      if (silence >= SILENT_MS) silent.push(publicKey);
      const named = endpointOf(publicKey);
      if (!named || !peer.endpoint || sameEndpoint(named, peer.endpoint)) continue;
      if (wasSet || silence >= (after.isProven ? SILENT_MS : SILENT_AT_FIRST_MS)) lost.push(publicKey);
    }
    this.#seen = seen;
    return { lost, silent };
  }
}

function first({ receivedBytes, sentBytes, endpoint, lastHandshake }: WireguardPeerState, now: number): Seen {
  const isTried = sentBytes > 0 && lastHandshake === 0;
  return {
    ...{ received: receivedBytes, sent: sentBytes, endpoint, sentAt: now, isProven: false },
    since: isTried ? now : undefined,
  };
}

/** Takes what the device says now. @returns Whether somebody has set the endpoint. */
function follow(
  seen: Seen,
  { receivedBytes, sentBytes, endpoint }: WireguardPeerState,
  now: number,
): boolean {
  const hasReceived = receivedBytes !== seen.received, hasSent = sentBytes !== seen.sent;
  const isOther = !sameEndpoint(seen.endpoint, endpoint);
  if (hasSent) seen.sentAt = now;
  if (hasReceived) {
    seen.since = undefined;
    seen.isProven = true;
  } else if (hasSent) seen.since ??= now;
  else if (now - seen.sentAt > FORGET_MS) seen.since = undefined;
  if (isOther && !hasReceived) seen.isProven = false;
  Object.assign(seen, { received: receivedBytes, sent: sentBytes, endpoint });
  return isOther && !hasReceived;
}

/** Whether both are the same, or both are none. */
export function sameEndpoint(a: Endpoint | undefined, b: Endpoint | undefined): boolean {
  return a === b || (a?.port === b?.port && sameIp(a?.ip, b?.ip));
}
