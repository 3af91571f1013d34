/**
 * From the peers to the TUN.
 *
 * @module
 */
import { decrementTtl, TTL_EXPIRED } from "../../../lib/packet/checksum.ts";
import * as h from "../../../lib/packet/headers.ts";
import { TIME_EXCEEDED } from "../../../lib/packet/icmp.ts";
import { COUNTER } from "../shared/counters.ts";
import { CHECK_ADDRESS, CHECK_NOTHING, type SourceCheck } from "../shared/source_check.ts";
import type { ForwardContext } from "./forward_context.ts";
import type { Receiver } from "./receiver.ts";
import { NO_PEER } from "./routes_reader.ts";

/** Most receive calls of one turn where each brings one message; the other direction isn't to be kept waiting. */
const SINGLE_CALLS = 32;

/** Receives datagrams, checks who sent them and what they claim, and writes them to the TUN. */
export class Inbound {
  readonly #context: ForwardContext;
  readonly #receiver: Receiver;
  readonly #check: SourceCheck;
  readonly #ip = new h.IpHeader();

  constructor(context: ForwardContext, receiver: Receiver, check: SourceCheck) {
    this.#context = context;
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
    const at = receiver.offset(i), size = receiver.segmentSize(i);
    const address = receiver.address(i), port = receiver.port(i);
    for (let done = 0; done < length; done += size) {
      this.#packet(at + done, Math.min(size, length - done), address, port);
    }
  }

  #packet(at: number, length: number, address: number, port: number): void {
    const { memory, counters, writer } = this.#context;
    const fault = this.#ip.read(memory, at, length);
    if (fault !== h.IP_OK || this.#ip.version !== 4) {
      const counter = fault === h.IP_TRUNCATED
        ? COUNTER.inTruncated
        : fault === h.IP_VERSION || this.#ip.version === 6
        ? COUNTER.inNotIpv4
        : COUNTER.inMalformed;
      counters[counter]!++;
      return;
    }
    const refused = this.#refusal(at, address, port);
    if (refused >= 0) {
      counters[refused]!++;
      return;
    }
    if (decrementTtl(memory, at) === TTL_EXPIRED) {
      this.#expired(at, length, address, port);
      return;
    }
    counters[COUNTER.receivedPackets]!++;
    counters[COUNTER.receivedBytes]! += length;
    writer.write(at, length);
  }

  /** The counter of the reason for which this sender may not send this packet, or -1. */
  #refusal(at: number, address: number, port: number): number {
    const { memory, routes } = this.#context;
    if (this.#check !== CHECK_NOTHING && !this.#isFromPeer(at, address, port)) {
      return routes.isSender(address, port) ? COUNTER.inForeignSource : COUNTER.inUnknownSender;
    }
    // Without the source check too: what isn't for this host would come back to the TUN, and errors about it would go
    // to a source that anybody can forge.
    return routes.isOwn(h.read32(memory.u8, at + h.IPV4_DESTINATION)) ? -1 : COUNTER.inForeignDestination;
  }

  /** Whether the inner source belongs to the peer that sent the packet. */
  #isFromPeer(at: number, address: number, port: number): boolean {
    const { memory, routes } = this.#context;
    const peer = routes.peerOf(h.read32(memory.u8, at + h.IPV4_SOURCE));
    return peer !== NO_PEER && routes.addressOf(peer) === address &&
      (this.#check === CHECK_ADDRESS || routes.portOf(peer) === port);
  }

  /** Answers the packet's sender, by the way it came, that its TTL is used up; never a forged one. */
  #expired(at: number, length: number, address: number, port: number): void {
    const { counters, icmp, routes, sender } = this.#context;
    counters[COUNTER.inTtl]!++;
    if (this.#check === CHECK_NOTHING && !this.#isFromPeer(at, address, port)) return;
    const made = icmp.make(TIME_EXCEEDED, at, length, routes.ownAddress);
    if (made === 0) return;
    sender.add(address, port, icmp.at, made, 0, 0);
    // The next error is made in the same place.
    sender.flush();
  }
}
