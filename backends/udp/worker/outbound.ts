/**
 * From the TUN to the peers.
 *
 * @module
 */
import { EAGAIN, EINTR } from "../../../lib/ffi/errno.ts";
import { decrementTtl, finishChecksum, TTL_EXPIRED } from "../../../lib/packet/checksum.ts";
import * as h from "../../../lib/packet/headers.ts";
import { type IcmpError, NO_ROUTE, TIME_EXCEEDED, TOO_BIG } from "../../../lib/packet/icmp_kinds.ts";
import { MAX_HEADERS, Segmenter } from "../../../lib/packet/segment.ts";
import { GSO_NONE, NEEDS_CSUM, VNET_HEADER, VnetHeader } from "../../../lib/packet/virtio.ts";
import { COUNTER } from "../shared/counters.ts";
import { MAX_DATAGRAM } from "../shared/structs.ts";
import { NO_PEER } from "./family_routes.ts";
import type { FamilyPath, ForwardContext } from "./forward_context.ts";
import { ADDRESS_STEP, BUFFER, READ_SHIFT, type TunIo } from "./packet_io.ts";

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
  readonly #io: TunIo;
  readonly #paths: readonly FamilyPath[];
  readonly #area: number;
  readonly #headers: number;
  readonly #hasHeader: boolean;
  readonly #vnet = new VnetHeader();
  readonly #ip = new h.IpHeader();
  readonly #segmenter: Segmenter;
  #headersUsed = 0;

  constructor(context: ForwardContext, io: TunIo) {
    this.#context = context;
    this.#io = io;
    this.#paths = context.paths.filter((path) => path !== undefined);
    this.#area = context.arena.take(READ_AREA);
    this.#headers = context.arena.take(HEADER_AREA + MAX_HEADERS);
    this.#hasHeader = context.offloads.has("vnetHeader");
    this.#segmenter = new Segmenter(context.memory);
  }

  /** Reads what is there, up to a bound, and sends it. @returns How many packets were read. */
  turn(): number {
    const { counters } = this.#context;
    const end = this.#area + READ_AREA - BUFFER - READ_SHIFT;
    let reads = 0;
    for (let at = this.#area; at <= end && reads < MAX_READS;) {
      const length = this.#io.read(at);
      if (length < 0) {
        if (length === -EINTR) continue;
        if (length !== -EAGAIN) this.fault = -length;
        break;
      }
      reads++;
      this.#packet(at + READ_SHIFT, length);
      // Once everything has been sent, the next packet is read to the same place: it is in the cache.
      if (this.#isEmpty()) {
        at = this.#area;
        this.#headersUsed = 0;
      } else {
        at = (at + READ_SHIFT + length + ADDRESS_STEP - 1) & -ADDRESS_STEP;
      }
    }
    this.#flush();
    counters[COUNTER.tunReads]! += reads;
    return reads;
  }

  #isEmpty(): boolean {
    for (const { sender } of this.#paths) {
      if (!sender.isEmpty) return false;
    }
    return true;
  }

  #flush(): void {
    for (const { sender } of this.#paths) sender.flush();
    this.#headersUsed = 0;
  }

  /** Handles what was read: `length` bytes at `at`, with the virtio header where there is one. */
  #packet(at: number, length: number): void {
    const { memory, counters, paths } = this.#context;
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
    const path = paths[this.#ip.version];
    if (fault !== h.IP_OK || !path) {
      const isOther = fault === h.IP_VERSION || fault === h.IP_OK;
      counters[isOther ? COUNTER.outWrongFamily : COUNTER.outMalformed]!++;
      return;
    }
    const peer = path.routes.peerOf(at + path.addresses.destination);
    if (peer === NO_PEER) {
      const counter = this.#isToGroup(path, at) ? COUNTER.outMulticast : COUNTER.outNoRoute;
      this.#refuse(path, counter, NO_ROUTE, at, length);
    } else if (decrementTtl(memory, at, path.version) === TTL_EXPIRED) {
      this.#refuse(path, COUNTER.outTtl, TIME_EXCEEDED, at, length);
    } else {
      this.#forward(path, peer, at, length);
    }
  }

  /** Whether the packet goes to a group, like reports of group memberships, or is a broadcast: no peer has those. */
  #isToGroup({ version, addresses }: FamilyPath, at: number): boolean {
    return this.#context.memory.u8[at + addresses.destination]! >= (version === 4 ? 224 : 255);
  }

  #forward(path: FamilyPath, peer: number, at: number, length: number): void {
    const { memory, counters } = this.#context;
    const vnet = this.#vnet;
    if (this.#hasHeader && vnet.gsoType !== GSO_NONE) {
      this.#segment(path, peer, at, length);
      return;
    }
    if (this.#hasHeader && (vnet.flags & NEEDS_CSUM) !== 0) {
      // A checksum within the IP header would make it another packet than the one that was checked.
      const isBehindIp = vnet.checksumStart >= this.#ip.headerLength;
      if (!isBehindIp || !finishChecksum(memory, at, length, vnet.checksumStart, vnet.checksumOffset)) {
        counters[COUNTER.outMalformed]!++;
        return;
      }
    }
    if (length > MAX_DATAGRAM) this.#refuse(path, COUNTER.outTooBig, TOO_BIG, at, length);
    else path.sender.add(peer, at, length, 0, 0);
  }

  #segment(path: FamilyPath, peer: number, at: number, length: number): void {
    const { counters } = this.#context;
    const { sender } = path;
    const segmenter = this.#segmenter;
    if (!segmenter.begin(at, length, this.#vnet)) {
      counters[COUNTER.outMalformed]!++;
      return;
    }
    const { headerLength, gsoSize, payload } = segmenter;
    const room = (headerLength + 15) & ~15;
    for (let i = 0; i < segmenter.count; i++) {
      if (this.#headersUsed + room > HEADER_AREA) this.#flush();
      const header = this.#headers + this.#headersUsed;
      this.#headersUsed += room;
      segmenter.header(i, header);
      sender.add(peer, header, headerLength, payload + i * gsoSize, segmenter.payloadLength(i));
    }
  }

  /** Drops a packet and answers its sender. */
  #refuse({ routes }: FamilyPath, counter: number, error: IcmpError, at: number, length: number): void {
    const { counters, icmp, writer } = this.#context;
    counters[counter]!++;
    const made = icmp.make(error, at, length, routes.own, error === TOO_BIG ? MAX_DATAGRAM : 0);
    if (made === 0) return;
    writer.write(icmp.at, made);
    // The next error is made in the same place.
    writer.flush();
  }
}
