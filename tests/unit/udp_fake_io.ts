/**
 * A packet path without a kernel: what is read and received comes from lists, what is written and sent goes into
 * lists, and refusals are scripted.
 *
 * @module
 */
import { COUNTER, type Counter, countersBytes, countersOf } from "../../backends/udp/shared/counters.ts";
import { IcmpErrors } from "../../backends/udp/worker/icmp_errors.ts";
import type { SourceCheck } from "../../backends/udp/shared/source_check.ts";
import { Arena } from "../../backends/udp/worker/arena.ts";
import type { ForwardContext } from "../../backends/udp/worker/forward_context.ts";
import { Inbound } from "../../backends/udp/worker/inbound.ts";
import { CMSGHDR, MMSGHDR, SOCKADDR_IN, SOL_UDP, UDP_GRO } from "../../backends/udp/shared/structs.ts";
import { Outbound } from "../../backends/udp/worker/outbound.ts";
import { type PacketIo, READ_SHIFT } from "../../backends/udp/worker/packet_io.ts";
import { Receiver } from "../../backends/udp/worker/receiver.ts";
import { routesShape } from "../../backends/udp/shared/routes_layout.ts";
import { RoutesReader } from "../../backends/udp/worker/routes_reader.ts";
import { type PeerRoute, RoutesWriter } from "../../backends/udp/control/routes_writer.ts";
import { type Offloads, SharedOffloads } from "../../backends/udp/shared/offloads.ts";
import { Sender } from "../../backends/udp/worker/sender.ts";
import { TunWriter } from "../../backends/udp/worker/tun_writer.ts";
import { allocatePacketMemory, type PacketMemory } from "../../lib/packet/memory.ts";

const EAGAIN = 11;
/** Pretends that the memory lies here: beyond 4 GiB, and near the end of such a stretch. */
export const BASE = 0x7f00_fff0_0000;

/** One message as the kernel would see it. */
export interface SentMessage {
  readonly address: string;
  readonly port: number;
  readonly bytes: Uint8Array;
  /** UDP_SEGMENT's size, or 0. */
  readonly segment: number;
}

/** One datagram, or several of one size in one message. */
export interface ReceivedMessage {
  readonly address: number;
  readonly port: number;
  readonly bytes: Uint8Array;
  /** UDP_GRO's size, or 0 for none. */
  readonly segment?: number;
  readonly truncated?: boolean;
}

/** The scripted kernel. */
export class FakeIo implements PacketIo {
  readonly toRead: Uint8Array[] = [];
  readonly toReceive: ReceivedMessage[] = [];
  readonly written: Uint8Array[] = [];
  readonly sent: SentMessage[] = [];
  /** Decides about each message: an errno refuses it, 0 lets it through. */
  refuseSend: (message: SentMessage) => number = () => 0;
  /** Decides about each write: an errno refuses it. */
  refuseWrite: (bytes: Uint8Array) => number = () => 0;
  /** Most messages that one sendMany takes. */
  sendLimit = Infinity;

  constructor(readonly memory: PacketMemory) {}

  readTun(at: number): number {
    const bytes = this.toRead.shift();
    if (!bytes) return -EAGAIN;
    this.memory.u8.set(bytes, at + READ_SHIFT);
    return bytes.length;
  }

  writeTun(at: number, length: number): number {
    return this.#write(this.memory.u8.slice(at, at + length));
  }

  writevTun(pieces: number, count: number): number {
    return this.#write(this.#gather(pieces, count));
  }

  #write(bytes: Uint8Array): number {
    const refused = this.refuseWrite(bytes);
    if (refused !== 0) return -refused;
    this.written.push(bytes);
    return bytes.length;
  }

  sendMany(vector: number, count: number): number {
    for (let i = 0; i < count; i++) {
      if (i >= this.sendLimit) return i;
      const result = this.#send(this.#message(vector + i * MMSGHDR.size));
      if (result < 0) return i > 0 ? i : result;
    }
    return count;
  }

  receiveMany(vector: number, count: number): number {
    let i = 0;
    for (; i < count && this.toReceive.length > 0; i++) {
      this.#putMessage(vector + i * MMSGHDR.size, this.toReceive.shift()!);
    }
    return i > 0 ? i : -EAGAIN;
  }

  #view(): DataView {
    return new DataView(this.memory.u8.buffer);
  }

  #pointer(at: number): number {
    return Number(this.#view().getBigUint64(at, true)) - BASE;
  }

  #gather(pieces: number, count: number): Uint8Array {
    const parts = Array.from({ length: count }, (_, i) => {
      const at = this.#pointer(pieces + i * 16);
      const length = Number(this.#view().getBigUint64(pieces + i * 16 + 8, true));
      return [...this.memory.u8.subarray(at, at + length)];
    });
    return new Uint8Array(parts.flat());
  }

  #message(at: number): SentMessage {
    const view = this.#view();
    const control = Number(view.getBigUint64(at + MMSGHDR.controlLength, true));
    const data = this.#pointer(at + MMSGHDR.control) + CMSGHDR.data;
    const pieces = Number(view.getBigUint64(at + MMSGHDR.pieceCount, true));
    return {
      ...this.#name(this.#pointer(at + MMSGHDR.name)),
      bytes: this.#gather(this.#pointer(at + MMSGHDR.pieces), pieces),
      segment: control === 0 ? 0 : view.getUint16(data, true),
    };
  }

  #name(at: number): { address: string; port: number } {
    const address = this.memory.u8.slice(at + SOCKADDR_IN.address, at + 8).join(".");
    return { address, port: this.#view().getUint16(at + SOCKADDR_IN.port) };
  }

  #putName(at: number, { address, port }: ReceivedMessage): void {
    this.#view().setUint16(at + SOCKADDR_IN.port, port);
    this.#view().setUint32(at + SOCKADDR_IN.address, address);
  }

  #putMessage(at: number, message: ReceivedMessage): void {
    const view = this.#view();
    const buffer = this.#pointer(this.#pointer(at + MMSGHDR.pieces));
    this.memory.u8.set(message.bytes, buffer);
    this.#putName(this.#pointer(at + MMSGHDR.name), message);
    view.setUint32(at + MMSGHDR.length, message.bytes.length, true);
    view.setUint32(at + MMSGHDR.flags, message.truncated ? 0x20 : 0, true);
    const control = this.#pointer(at + MMSGHDR.control);
    view.setBigUint64(at + MMSGHDR.controlLength, message.segment ? 24n : 0n, true);
    if (!message.segment) return;
    view.setBigUint64(control, 20n, true);
    view.setUint32(control + CMSGHDR.level, SOL_UDP, true);
    view.setUint32(control + CMSGHDR.type, UDP_GRO, true);
    view.setInt32(control + CMSGHDR.data, message.segment, true);
  }

  #send(message: SentMessage): number {
    const refused = this.refuseSend(message);
    if (refused !== 0) return -refused;
    this.sent.push(message);
    return 0;
  }
}

/** Every offload. */
export const ALL_OFFLOADS: Offloads = {
  ...{ vnetHeader: true, uso: true, segment: true, gro: true },
  ...{ mergeTcp: true, mergeUdp: true, batch: true },
};

/** No offload. */
export const NO_OFFLOADS = Object.fromEntries(
  Object.keys(ALL_OFFLOADS).map((offload) => [offload, false]),
) as unknown as Offloads;

/** Both directions of a host with subnet 10.5.1.0/24 on top of a scripted kernel. */
export class FakeHost {
  readonly memory = allocatePacketMemory(4 << 20);
  readonly io = new FakeIo(this.memory);
  readonly offloads = new SharedOffloads();
  readonly outbound: Outbound;
  readonly inbound: Inbound;
  readonly sender: Sender;
  readonly routes: RoutesReader;
  readonly writer: RoutesWriter;
  readonly #counters: Float64Array;
  now = 0;

  constructor(offloads: Offloads, peers: readonly PeerRoute[], check: SourceCheck = 2) {
    const { memory, io } = this;
    this.offloads.set(offloads);
    const shape = routesShape(64);
    this.writer = new RoutesWriter(shape, { base: 0x0a050100, length: 24, address: 0x0a050100 });
    peers.forEach((peer, i) => this.writer.set(`${i}`, peer));
    this.writer.publish();
    this.routes = new RoutesReader(this.writer.memory, shape, 0);
    this.routes.enter();
    const arena = new Arena(memory.size);
    const counters = countersOf(new SharedArrayBuffer(countersBytes(1)), 0);
    this.#counters = counters;
    const parts = { memory, arena, base: BASE, io, offloads: this.offloads, counters };
    this.sender = new Sender(parts);
    const writer = new TunWriter(parts);
    const icmp = new IcmpErrors(memory, arena, counters, () => this.now);
    const context: ForwardContext = { ...parts, routes: this.routes, sender: this.sender, writer, icmp };
    this.outbound = new Outbound(context);
    this.inbound = new Inbound(context, new Receiver(parts), check);
  }

  /** What a counter says. */
  counted(counter: Counter): number {
    return this.#counters[COUNTER[counter]]!;
  }
}
