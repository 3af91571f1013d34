/**
 * A packet path without a kernel: what is read and received comes from lists, what is written and sent goes into
 * lists, and refusals are scripted.
 *
 * @module
 */
import { COUNTER, type Counter, countersBytes, countersOf } from "../../backends/udp/shared/counters.ts";
import type { SourceCheck } from "../../backends/udp/shared/source_check.ts";
import { socketAddress } from "../../backends/udp/shared/socket_address.ts";
import { Arena } from "../../backends/udp/worker/arena.ts";
import type { FamilyPath, ForwardContext } from "../../backends/udp/worker/forward_context.ts";
import { IcmpErrors } from "../../backends/udp/worker/icmp_errors.ts";
import { Inbound } from "../../backends/udp/worker/inbound.ts";
import { CMSGHDR, MMSGHDR, SOCKET_ADDRESS, SOL_UDP, UDP_GRO } from "../../backends/udp/shared/structs.ts";
import { Outbound } from "../../backends/udp/worker/outbound.ts";
import { READ_SHIFT, type SocketIo, type TunIo } from "../../backends/udp/worker/packet_io.ts";
import { Receiver } from "../../backends/udp/worker/receiver.ts";
import { routesShape } from "../../backends/udp/shared/routes_layout.ts";
import { RoutesReader } from "../../backends/udp/worker/routes_reader.ts";
import { RoutesWriter } from "../../backends/udp/control/routes_writer.ts";
import type { PeerRoute } from "../../backends/udp/control/table_writer.ts";
import { type Offloads, SharedOffloads } from "../../backends/udp/shared/offloads.ts";
import { Sender } from "../../backends/udp/worker/sender.ts";
import { TunWriter } from "../../backends/udp/worker/tun_writer.ts";
import { FAMILIES, type Family, IPV4, type PerFamily } from "../../lib/net/family.ts";
import { formatIp, ipFromBytes, parseIp } from "../../lib/net/ip.ts";
import { firstIp, parsePrefix } from "../../lib/net/prefix.ts";
import { IPV4_ADDRESSES, IPV6_ADDRESSES } from "../../lib/packet/headers.ts";
import { allocatePacketMemory, type PacketMemory } from "../../lib/packet/memory.ts";

const EAGAIN = 11;
/** Pretends that the packet memory lies here: beyond 4 GiB, and near the end of such a stretch. */
export const BASE = 0x7f00_fff0_0000;
/** And the routing table here. */
const ROUTES_BASE = 0x7e00_fff0_0000;

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
  readonly address: string;
  readonly port: number;
  readonly bytes: Uint8Array;
  /** UDP_GRO's size, or 0 for none. */
  readonly segment?: number;
  readonly truncated?: boolean;
}

/** What both scripted edges share with the test. */
export class FakeKernel implements TunIo {
  readonly toRead: Uint8Array[] = [];
  readonly toReceive: ReceivedMessage[] = [];
  readonly written: Uint8Array[] = [];
  readonly sent: SentMessage[] = [];
  /** Decides about each message: an errno refuses it, 0 lets it through. */
  refuseSend: (message: SentMessage) => number = () => 0;
  /** Decides about each write: an errno refuses it. */
  refuseWrite: (bytes: Uint8Array) => number = () => 0;
  /** Most messages that one send takes. */
  sendLimit = Infinity;

  constructor(readonly memory: PacketMemory) {}

  read(at: number): number {
    const bytes = this.toRead.shift();
    if (!bytes) return -EAGAIN;
    this.memory.u8.set(bytes, at + READ_SHIFT);
    return bytes.length;
  }

  write(at: number, length: number): number {
    return this.#write(this.memory.u8.slice(at, at + length));
  }

  writePieces(pieces: number, count: number): number {
    return this.#write(gather(this.memory, pieces, count));
  }

  #write(bytes: Uint8Array): number {
    const refused = this.refuseWrite(bytes);
    if (refused !== 0) return -refused;
    this.written.push(bytes);
    return bytes.length;
  }
}

/** The scripted socket of one family. */
export class FakeSocket implements SocketIo {
  readonly #view: DataView;
  readonly #routes: DataView;

  constructor(readonly kernel: FakeKernel, readonly family: Family, routes: SharedArrayBuffer) {
    this.#view = new DataView(kernel.memory.u8.buffer);
    this.#routes = new DataView(routes);
  }

  send(vector: number, count: number): number {
    const { kernel } = this;
    for (let i = 0; i < count; i++) {
      if (i >= kernel.sendLimit) return i;
      const message = this.#message(vector + i * MMSGHDR.size);
      const refused = kernel.refuseSend(message);
      if (refused !== 0) return i > 0 ? i : -refused;
      kernel.sent.push(message);
    }
    return count;
  }

  receive(vector: number, count: number): number {
    let i = 0;
    for (; i < count; i++) {
      const next = this.kernel.toReceive.findIndex(({ address }) => parseIp(address).family === this.family);
      if (next < 0) break;
      this.#putMessage(vector + i * MMSGHDR.size, this.kernel.toReceive.splice(next, 1)[0]!);
    }
    return i > 0 ? i : -EAGAIN;
  }

  #message(at: number): SentMessage {
    const view = this.#view;
    const control = Number(view.getBigUint64(at + MMSGHDR.controlLength, true));
    const data = pointer(view, at + MMSGHDR.control) + CMSGHDR.data;
    const pieces = Number(view.getBigUint64(at + MMSGHDR.pieceCount, true));
    return {
      ...this.#name(at),
      bytes: gather(this.kernel.memory, pointer(view, at + MMSGHDR.pieces), pieces),
      segment: control === 0 ? 0 : view.getUint16(data, true),
    };
  }

  /** The destination: a sockaddr in the routing table. */
  #name(message: number): { address: string; port: number } {
    const format = SOCKET_ADDRESS[this.family.name];
    const at = Number(this.#view.getBigUint64(message + MMSGHDR.name, true)) - ROUTES_BASE;
    if (this.#view.getUint32(message + MMSGHDR.nameLength, true) !== format.size) {
      throw new Error("length of the name");
    }
    if (this.#routes.getUint16(at, true) !== this.family.af) throw new Error("family of the name");
    const bytes = Uint8Array.from(
      { length: this.family.bytes },
      (_, i) => this.#routes.getUint8(at + format.address + i),
    );
    return { address: formatIp(ipFromBytes(bytes)), port: this.#routes.getUint16(at + format.port) };
  }

  #putMessage(at: number, message: ReceivedMessage): void {
    const view = this.#view, { u8 } = this.kernel.memory;
    u8.set(message.bytes, pointer(view, pointer(view, at + MMSGHDR.pieces)));
    const name = socketAddress(parseIp(message.address), message.port, 0);
    u8.set(name, pointer(view, at + MMSGHDR.name));
    view.setUint32(at + MMSGHDR.length, message.bytes.length, true);
    view.setUint32(at + MMSGHDR.flags, message.truncated ? 0x20 : 0, true);
    const control = pointer(view, at + MMSGHDR.control);
    view.setBigUint64(at + MMSGHDR.controlLength, message.segment ? 24n : 0n, true);
    if (!message.segment) return;
    view.setBigUint64(control, 20n, true);
    view.setUint32(control + CMSGHDR.level, SOL_UDP, true);
    view.setUint32(control + CMSGHDR.type, UDP_GRO, true);
    view.setInt32(control + CMSGHDR.data, message.segment, true);
  }
}

function pointer(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true)) - BASE;
}

function gather({ u8 }: PacketMemory, pieces: number, count: number): Uint8Array {
  const view = new DataView(u8.buffer);
  const parts = Array.from({ length: count }, (_, i) => {
    const at = pointer(view, pieces + i * 16);
    return [...u8.subarray(at, at + Number(view.getBigUint64(pieces + i * 16 + 8, true)))];
  });
  return new Uint8Array(parts.flat());
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

/** A peer of the tests: its subnets and its address, of one family. */
export interface FakePeer {
  readonly subnet: string;
  readonly address: string;
  readonly port: number;
}

/** The peer's route, by its family. */
export function routeOf({ subnet, address, port }: FakePeer): PerFamily<PeerRoute> {
  const prefix = parsePrefix(subnet);
  return { [prefix.family.name]: { subnet: prefix, name: socketAddress(parseIp(address), port, 0) } };
}

/** What the tests' host has. */
const OWN_SUBNETS = { ipv4: parsePrefix("10.5.1.0/24"), ipv6: parsePrefix("fc00:0:0:1::/64") };

/** Both directions of a host with subnets 10.5.1.0/24 and fc00:0:0:1::/64 on top of a scripted kernel. */
export class FakeHost {
  readonly memory = allocatePacketMemory(8 << 20);
  readonly kernel = new FakeKernel(this.memory);
  readonly offloads = new SharedOffloads();
  readonly outbound: Outbound;
  readonly routes: RoutesReader;
  readonly writer: RoutesWriter;
  readonly #inbounds: readonly Inbound[];
  readonly #counters: Float64Array;
  now = 0;

  constructor(
    offloads: Offloads,
    peers: readonly FakePeer[],
    check: SourceCheck = 2,
    families: readonly Family[] = FAMILIES,
  ) {
    const { memory, kernel } = this;
    this.offloads.set(offloads);
    const shape = routesShape(families, 64);
    const own = ({ name }: Family) => ({ subnet: OWN_SUBNETS[name], address: firstIp(OWN_SUBNETS[name]) });
    this.writer = new RoutesWriter(
      shape,
      Object.fromEntries(families.map((family) => [family.name, own(family)])),
    );
    peers.forEach((peer, i) => this.writer.set(`${i}`, routeOf(peer)));
    this.writer.publish();
    const words = new Int32Array(this.writer.memory);
    this.routes = new RoutesReader({ words, base: ROUTES_BASE, shape }, 0, memory);
    this.routes.enter();
    const counters = countersOf(new SharedArrayBuffer(countersBytes(1)), 0);
    this.#counters = counters;
    const parts = { memory, arena: new Arena(memory.size), base: BASE, offloads: this.offloads, counters };
    const paths: FamilyPath[] = [];
    const sockets = families.map((family) => {
      const io = new FakeSocket(kernel, family, this.writer.memory);
      const routes = this.routes.tables[family.name]!;
      const { size } = SOCKET_ADDRESS[family.name];
      const path: FamilyPath = {
        version: family.version,
        addresses: family === IPV4 ? IPV4_ADDRESSES : IPV6_ADDRESSES,
        routes,
        sender: new Sender(parts, io, routes, size),
      };
      paths[family.version] = path;
      return { path, receiver: new Receiver(parts, io, size) };
    });
    const writer = new TunWriter(parts, kernel);
    const icmp = new IcmpErrors(memory, parts.arena, counters, () => this.now);
    const context: ForwardContext = { ...parts, paths, writer, icmp };
    this.outbound = new Outbound(context, kernel);
    this.#inbounds = sockets.map(({ path, receiver }) => new Inbound(context, path, receiver, check));
  }

  /** One turn of everything that comes in. */
  receive(): void {
    for (const inbound of this.#inbounds) inbound.turn();
  }

  /** What a counter says. */
  counted(counter: Counter): number {
    return this.#counters[COUNTER[counter]]!;
  }
}
