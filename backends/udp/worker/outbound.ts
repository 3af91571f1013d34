/**
 * From the TUN to the peers.
 *
 * @module
 */
import { EAGAIN, EINTR } from "../../../lib/ffi/errno.ts";
import { decrementTtl, finishChecksum, TTL_EXPIRED } from "../../../lib/packet/checksum.ts";
import * as h from "../../../lib/packet/headers.ts";
import { type IcmpError, NET_UNREACHABLE, TIME_EXCEEDED } from "../../../lib/packet/icmp.ts";
import { MAX_HEADERS, Segmenter } from "../../../lib/packet/segment.ts";
import { GSO_NONE, NEEDS_CSUM, VNET_HEADER, VnetHeader } from "../../../lib/packet/virtio.ts";
import { COUNTER } from "../shared/counters.ts";
import type { ForwardContext } from "./forward_context.ts";
import { ADDRESS_STEP, BUFFER, READ_SHIFT } from "./packet_io.ts";
import { NO_PEER } from "./routes_reader.ts";

/** Most packets of one turn, so that the other direction isn't kept waiting. */
const MAX_READS = 64;
/** Room for what one turn reads: four super-packets, or 64 packets of a usual MTU. */
const READ_AREA = 4 * (BUFFER + ADDRESS_STEP);
/** Room for the headers of the segments of one turn. */
const HEADER_AREA = 256 * 64;

/** Reads packets, looks up their peers and sends them. */
export class Outbound {
  /** errno of a read that says that the device is gone; 0 while it is there. */
  fault = 0;

  readonly #context: ForwardContext;
  readonly #area: number;
  readonly #headers: number;
  readonly #hasHeader: boolean;
  readonly #vnet = new VnetHeader();
  readonly #ip = new h.IpHeader();
  readonly #segmenter: Segmenter;
  #headersUsed = 0;

  constructor(context: ForwardContext) {
    this.#context = context;
    this.#area = context.arena.take(READ_AREA);
    this.#headers = context.arena.take(HEADER_AREA + MAX_HEADERS);
    this.#hasHeader = context.offloads.has("vnetHeader");
    this.#segmenter = new Segmenter(context.memory);
  }

  /** Reads what is there, up to a bound, and sends it. @returns How many packets were read. */
  turn(): number {
    const { io, counters, sender } = this.#context;
    const end = this.#area + READ_AREA - BUFFER - READ_SHIFT;
    let reads = 0;
    for (let at = this.#area; at <= end && reads < MAX_READS;) {
      const length = io.readTun(at);
      if (length < 0) {
        if (length === -EINTR) continue;
        if (length !== -EAGAIN) this.fault = -length;
        break;
      }
      reads++;
      this.#packet(at + READ_SHIFT, length);
      // Once everything has been sent, the next packet is read to the same place: it is in the cache.
      if (sender.isEmpty) {
        at = this.#area;
        this.#headersUsed = 0;
      } else {
        at = (at + READ_SHIFT + length + ADDRESS_STEP - 1) & -ADDRESS_STEP;
      }
    }
    sender.flush();
    this.#headersUsed = 0;
    counters[COUNTER.tunReads]! += reads;
    return reads;
  }

  /** Handles what was read: `length` bytes at `at`, with the virtio header where there is one. */
  #packet(at: number, length: number): void {
    const { memory, counters, routes } = this.#context;
    if (this.#hasHeader) {
      if (length < VNET_HEADER) {
        counters[COUNTER.outMalformed]!++;
        return;
      }
      this.#vnet.read(memory, at);
      at += VNET_HEADER;
      length -= VNET_HEADER;
    }
    const fault = this.#ip.read(memory, at, length);
    if (fault === h.IP_VERSION || this.#ip.version === 6) {
      counters[COUNTER.outNotIpv4]!++;
      return;
    }
    if (fault !== h.IP_OK) {
      counters[COUNTER.outMalformed]!++;
      return;
    }
    const peer = routes.peerOf(h.read32(memory.u8, at + h.IPV4_DESTINATION));
    if (peer === NO_PEER) {
      this.#refuse(COUNTER.outNoRoute, NET_UNREACHABLE, at, length);
    } else if (decrementTtl(memory, at) === TTL_EXPIRED) {
      this.#refuse(COUNTER.outTtl, TIME_EXCEEDED, at, length);
    } else {
      this.#forward(peer, at, length);
    }
  }

  #forward(peer: number, at: number, length: number): void {
    const { memory, counters, routes, sender } = this.#context;
    const address = routes.addressOf(peer), port = routes.portOf(peer);
    const vnet = this.#vnet;
    if (this.#hasHeader && vnet.gsoType !== GSO_NONE) {
      this.#segment(address, port, at, length);
      return;
    }
    if (this.#hasHeader && (vnet.flags & NEEDS_CSUM) !== 0) {
      if (!finishChecksum(memory, at, length, vnet.checksumStart, vnet.checksumOffset)) {
        counters[COUNTER.outMalformed]!++;
        return;
      }
    }
    sender.add(address, port, at, length, 0, 0);
  }

  #segment(address: number, port: number, at: number, length: number): void {
    const { counters, sender } = this.#context;
    const segmenter = this.#segmenter;
    if (!segmenter.begin(at, length, this.#vnet)) {
      counters[COUNTER.outMalformed]!++;
      return;
    }
    const { headerLength, gsoSize, payload } = segmenter;
    const room = (headerLength + 15) & ~15;
    for (let i = 0; i < segmenter.count; i++) {
      if (this.#headersUsed + room > HEADER_AREA) {
        sender.flush();
        this.#headersUsed = 0;
      }
      const header = this.#headers + this.#headersUsed;
      this.#headersUsed += room;
      segmenter.header(i, header);
      sender.add(address, port, header, headerLength, payload + i * gsoSize, segmenter.payloadLength(i));
    }
  }

  /** Drops a packet and tells its sender. */
  #refuse(counter: number, error: IcmpError, at: number, length: number): void {
    const { counters, icmp, routes, writer } = this.#context;
    counters[counter]!++;
    const made = icmp.make(error, at, length, routes.ownAddress);
    if (made === 0) return;
    writer.write(icmp.at, made);
    // The next error is made in the same place.
    writer.flush();
  }
}
