/**
 * Handshakes that were begun for new peers, and which of them are to be begun anew.
 *
 * WireGuard sends a lost initiation again after 5 s (REKEY_TIMEOUT), and takes no other reason to do so earlier. After a
 * host's peers or addresses changed that would be most of the outage. A peer that was removed and made again has no
 * such wait; what it loses is the packets that wait for the handshake.
 *
 * @module
 */
import type { WireguardPeerState } from "../../lib/wireguard/types.ts";

/** An answer takes a round trip: a handshake is begun anew after this long, in milliseconds … */
const UNANSWERED_MS = 900;

/** … so many times; then it is WireGuard's, every 5 s: the peer is down, or far too slow. */
const MORE_TRIES = 3;

/** See the module's text. */
export class Greetings {
  /** By public key: peers that were greeted and of which no answer is known. */
  readonly #open = new Map<string, { at: number; left: number }>();

  /** A handshake with a new peer was begun. @param now In milliseconds, as performance.now(). */
  begun(publicKey: string, now: number): void {
    this.#open.set(publicKey, { at: now, left: MORE_TRIES });
  }

  /** The peer is gone. */
  forget(publicKey: string): void {
    this.#open.delete(publicKey);
  }

  /** Another way to the peers: those that have not answered may do so now. */
  restart(): void {
    for (const greeting of this.#open.values()) greeting.left = MORE_TRIES;
  }

  /** The keys of peers with which a handshake is to be begun anew. It is, by the caller. */
  unanswered(peers: readonly WireguardPeerState[], now: number): string[] {
    if (this.#open.size === 0) return [];
    return peers.flatMap(({ publicKey, lastHandshake, receivedBytes }) => {
      const greeting = this.#open.get(publicKey);
      if (!greeting) return [];
      // Whatever came is an answer: one that can't be understood is no better the next time.
      if (lastHandshake > 0 || receivedBytes > 0) {
        this.#open.delete(publicKey);
        return [];
      }
      if (greeting.left === 0 || now - greeting.at < UNANSWERED_MS) return [];
      greeting.at = now;
      greeting.left--;
      return [publicKey];
    });
  }
}
