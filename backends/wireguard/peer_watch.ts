/**
 * Which peers don't answer, and whose endpoint isn't theirs: seen from what a device counts between two looks.
 *
 * WireGuard follows peers that roam, and anybody may set an endpoint: one from which nothing comes back is left for the
 * lease's.
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

/** The same for an endpoint from which nothing has come yet: somebody set it, or a former run left it. */
const SILENT_AT_FIRST_MS = 3_000;

/** Whoever isn't sent to for so long isn't known to be silent any more, in milliseconds. */
const FORGET_MS = 60_000;

/** Sizes of messages, in bytes: initiation, response, and a transport message without a packet in it. */
const INITIATION = 148, RESPONSE = 92, KEEPALIVE = 32;

/** What may be received without the peer having answered: it may be unable to, for another pre-shared key. */
const NO_ANSWER = new Set([0, INITIATION, RESPONSE, INITIATION + RESPONSE, 2 * INITIATION]);

/** What may be sent without an answer to come. */
const NO_QUESTION = new Set([0, KEEPALIVE, RESPONSE, RESPONSE + KEEPALIVE]);

/** What is known of a peer; counters in bytes, times in milliseconds. */
interface Seen {
  received: number;
  sent: number;
  lastHandshake: number;
  endpoint: Endpoint | undefined;
  /** When it was first sent to without an answer since. */
  since: number | undefined;
  sentAt: number;
  /** Whether an answer came from this endpoint while it was watched. */
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

  /** The peer is made again: its counters begin anew. */
  forget(publicKey: string): void {
    this.#seen.delete(publicKey);
  }

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
      if (before) follow(before, peer, now);
      const silence = after.since === undefined ? 0 : now - after.since;
      if (silence >= SILENT_MS) silent.push(publicKey);
      const named = endpointOf(publicKey);
      if (!named || !peer.endpoint || sameEndpoint(named, peer.endpoint)) continue;
      if (silence >= (after.isProven ? SILENT_MS : SILENT_AT_FIRST_MS)) lost.push(publicKey);
    }
    this.#seen = seen;
    return { lost, silent };
  }
}

function first(peer: WireguardPeerState, now: number): Seen {
  const { receivedBytes, sentBytes, endpoint, lastHandshake } = peer;
  const isTried = sentBytes > 0 && lastHandshake === 0;
  return {
    ...{ received: receivedBytes, sent: sentBytes, lastHandshake, endpoint, sentAt: now, isProven: false },
    since: isTried ? now : undefined,
  };
}

/** Takes what the device says now. */
function follow(seen: Seen, peer: WireguardPeerState, now: number): void {
  const { receivedBytes, sentBytes, endpoint, lastHandshake } = peer;
  // A program that gives a handshake's age, in whole seconds, is off by one now and then.
  const isNewHandshake = Math.abs(lastHandshake - seen.lastHandshake) > 1;
  const isAnswered = !NO_ANSWER.has(receivedBytes - seen.received) || isNewHandshake;
  const isAsked = !NO_QUESTION.has(sentBytes - seen.sent);
  if (isAsked) seen.sentAt = now;
  if (isAnswered) seen.since = undefined;
  else if (isAsked) seen.since ??= now;
  else if (now - seen.sentAt > FORGET_MS) seen.since = undefined;
  seen.isProven = sameEndpoint(seen.endpoint, endpoint) && (seen.isProven || isAnswered);
  Object.assign(seen, { received: receivedBytes, sent: sentBytes, endpoint, lastHandshake });
}

/** Whether both are the same, or both are none. */
export function sameEndpoint(a: Endpoint | undefined, b: Endpoint | undefined): boolean {
  return a === b || (a?.port === b?.port && sameIp(a?.ip, b?.ip));
}
