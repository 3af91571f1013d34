/**
 * From the peers to the TUN.
 *
 * @module
 */
import { decrementTtl, TTL_EXPIRED } from "../../../lib/packet/checksum.ts";
import * as h from "../../../lib/packet/headers.ts";
import { TIME_EXCEEDED } from "../../../lib/packet/icmp_kinds.ts";
import { COUNTER } from "../shared/counters.ts";
import { CHECK_ADDRESS, CHECK_NOTHING, type SourceCheck } from "../shared/source_check.ts";
import { NO_PEER } from "./family_routes.ts";
import type { FamilyPath, ForwardContext } from "./forward_context.ts";
import type { Receiver } from "./receiver.ts";

/** Most receive calls of one turn where each brings one message; the other direction isn't to be kept waiting. */
const SINGLE_CALLS = 32;

/** Receives one socket's datagrams, checks who sent them and what they claim, and writes them to the TUN. */
export class Inbound {
  readonly #context: ForwardContext;
  readonly #path: FamilyPath;
  readonly #receiver: Receiver;
  readonly #check: SourceCheck;
  readonly #ip = new h.IpHeader();

  constructor(context: ForwardContext, path: FamilyPath, receiver: Receiver, check: SourceCheck) {
    this.#context = context;
    this.#path = path;
    this.#receiver = receiver;
    this.#check = check;
  }

  /** Receives what is there, up to a bound, and writes it. @returns How many messages came. */
  turn(): number {
    const receiver = this.#receiver;
    let total = 0;
    for (let calls = receiver.capacity === 1 ? SINGLE_CALLS : 1; calls > 0; calls--) {
      const messages = receiver.receive();
      for (let i = 0; i < messages; i++) this.#message(i);
      if (messages > 0) this.#context.writer.flush();
      total += messages;
      if (messages === 0) break;
    }
    return total;
  }

  #message(i: number): void {
    const receiver = this.#receiver;
    const length = receiver.length(i);
    if (length === 0) {
      this.#context.counters[COUNTER.inTruncated]!++;
      return;
    }
    const at = receiver.offset(i), size = receiver.segmentSize(i), name = receiver.name(i);
    for (let done = 0; done < length; done += size) {
      this.#packet(at + done, Math.min(size, length - done), name);
    }
  }

  /** @param name Where the outer sender's sockaddr stands. */
  #packet(at: number, length: number, name: number): void {
    const { memory, counters, writer } = this.#context;
    const { version } = this.#path;
    const refused = this.#refusal(at, length, name);
    if (refused >= 0) {
      counters[refused]!++;
      return;
    }
    if (decrementTtl(memory, at, version) === TTL_EXPIRED) {
      this.#expired(at, length, name);
      return;
    }
    counters[COUNTER.receivedPackets]!++;
    counters[COUNTER.receivedBytes]! += length;
    writer.write(at, length);
  }

  /** The counter of the reason for which this sender may not send this packet, or -1. */
  #refusal(at: number, length: number, name: number): number {
    const { version, addresses, routes } = this.#path;
    const fault = this.#ip.read(this.#context.memory, at, length);
    if (fault === h.IP_TRUNCATED) return COUNTER.inTruncated;
    if (fault === h.IP_VERSION || this.#ip.version !== version) return COUNTER.inWrongFamily;
    if (fault !== h.IP_OK) return COUNTER.inMalformed;
    if (this.#check !== CHECK_NOTHING && !this.#isFromPeer(at, name)) {
      return routes.isSender(name) ? COUNTER.inForeignSource : COUNTER.inUnknownSender;
    }
    // Without the source check too: what isn't for this host would come back to the TUN, and errors about it would go
    // to a source that anybody can forge.
    return routes.isOwn(at + addresses.destination) ? -1 : COUNTER.inForeignDestination;
  }

  /** Whether the inner source belongs to the peer that sent the packet. */
  #isFromPeer(at: number, name: number): boolean {
    const { addresses, routes } = this.#path;
    const peer = routes.peerOf(at + addresses.source);
    return peer !== NO_PEER && routes.hasAddress(peer, name) &&
      (this.#check === CHECK_ADDRESS || routes.hasPort(peer, name));
  }

  /** Answers the peer that the packet came from that its TTL is used up; never a forged sender. */
  #expired(at: number, length: number, name: number): void {
    const { counters, icmp } = this.#context;
    const { addresses, routes, sender } = this.#path;
    counters[COUNTER.inTtl]!++;
    if (this.#check === CHECK_NOTHING && !this.#isFromPeer(at, name)) return;
    const made = icmp.make(TIME_EXCEEDED, at, length, routes.own);
    if (made === 0) return;
    sender.add(routes.peerOf(at + addresses.source), icmp.at, made, 0, 0);
    // The next error is made in the same place.
    sender.flush();
  }
}
