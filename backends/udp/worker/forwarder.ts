/**
 * The loop that carries packets: everything on one thread, by synchronous calls, until the control plane stops it.
 *
 * @module
 */
import { addressOf } from "../../../lib/ffi/libc.ts";
import { type Family, IPV4 } from "../../../lib/net/family.ts";
import { IPV4_ADDRESSES, IPV6_ADDRESSES } from "../../../lib/packet/headers.ts";
import { allocatePacketMemory } from "../../../lib/packet/memory.ts";
import { countersOf } from "../shared/counters.ts";
import { SharedOffloads } from "../shared/offloads.ts";
import { familiesIn } from "../shared/routes_layout.ts";
import { SOCKET_ADDRESS } from "../shared/structs.ts";
import type { WorkerEnd, WorkerSetup } from "../shared/worker_messages.ts";
import { Arena } from "./arena.ts";
import type { FamilyPath, ForwardContext } from "./forward_context.ts";
import { IcmpErrors } from "./icmp_errors.ts";
import { Inbound } from "./inbound.ts";
import { LinuxSocketIo, LinuxTunIo } from "./linux_io.ts";
import { Outbound } from "./outbound.ts";
import { Poller } from "./poller.ts";
import { Receiver } from "./receiver.ts";
import { RoutesReader } from "./routes_reader.ts";
import { Sender } from "./sender.ts";
import { TunWriter } from "./tun_writer.ts";
import type { WorkerContext } from "./worker_context.ts";

/** Enough for the buffers with any offloads: of the TUN, and of each socket. */
const TUN_BYTES = 8 << 16, SOCKET_BYTES = 36 << 16;

/**
 * How often the packet calls are warmed up, in idle moments: V8 makes direct calls of them only once the functions
 * around them are optimised.
 */
const WARM_UPS = 100;

/** Places of the poller's descriptors; the first one only wakes it, the last ones are the sockets. */
const TUN = 1, SOCKETS = 2;

/**
 * Forwards packets on the calling thread until the setup's stop word is set or the TUN is gone.
 *
 * No call waits but the poller's: whatever wire and peers do, a stop or a new routing table takes effect within one
 * batch of packets.
 *
 * @param onRunning Called when all is in place.
 */
export function forward(setup: WorkerSetup, onRunning: () => void): WorkerEnd {
  const { edges, routes, outbound, inbounds, writer } = assemble(setup);
  const stop = new Int32Array(setup.stop);
  // poll(2) passes over a descriptor of -1: a direction that is another worker's.
  const sockets = inbounds.map(({ fd }) => fd);
  const poller = new Poller([setup.wake, outbound ? setup.tun : -1, ...sockets]);
  onRunning();
  for (let cold = WARM_UPS; Atomics.load(stop, 0) === 0;) {
    if (!poller.wait(cold > 0 ? 0 : -1)) {
      if (cold === 0) continue;
      for (const edge of edges) edge.warmUp();
      cold--;
      continue;
    }
    routes.enter();
    if (outbound && poller.isReady(TUN)) {
      outbound.turn();
      if (outbound.fault !== 0) return { kind: "tun", errno: outbound.fault };
    }
    for (let i = 0; i < inbounds.length; i++) {
      if (poller.isReady(SOCKETS + i)) inbounds[i]!.inbound.turn();
    }
    if (writer.fault !== 0) return { kind: "tun", errno: writer.fault };
    routes.leave();
  }
  return { kind: "stopped" };
}

function assemble(setup: WorkerSetup) {
  const families = familiesIn(setup.shape).filter(({ name }) => setup.sockets[name] !== undefined);
  const memory = allocatePacketMemory(TUN_BYTES + families.length * SOCKET_BYTES);
  const base = Number(addressOf(memory.u8));
  const context: WorkerContext = {
    ...{ memory, base, arena: new Arena(memory.size), offloads: new SharedOffloads(setup.offloads) },
    counters: countersOf(setup.counters, setup.worker),
  };
  const tun = new LinuxTunIo(memory, base, setup.tun);
  const words = new Int32Array(setup.routes);
  const routesMemory = { words, base: Number(addressOf(words)), shape: setup.shape };
  const routes = new RoutesReader(routesMemory, setup.worker, memory);
  const sockets = families.map((family) => {
    const fd = setup.sockets[family.name]!;
    const io = new LinuxSocketIo(memory, base, fd);
    return { family, fd, io, path: pathOf(family, context, routes, io) };
  });
  const paths: FamilyPath[] = [];
  for (const { path } of sockets) paths[path.version] = path;
  const writer = new TunWriter(context, tun);
  const icmp = new IcmpErrors(memory, context.arena, context.counters, () => performance.now());
  const forwarding: ForwardContext = { ...context, paths, writer, icmp };
  const outbound = setup.outbound ? new Outbound(forwarding, tun) : undefined;
  const inbounds = !setup.inbound ? [] : sockets.map(({ family, fd, io, path }) => {
    const receiver = new Receiver(context, io, SOCKET_ADDRESS[family.name].size);
    return { fd, inbound: new Inbound(forwarding, path, receiver, setup.sourceCheck) };
  });
  return { edges: [tun, ...sockets.map(({ io }) => io)], routes, writer, outbound, inbounds };
}

function pathOf(family: Family, context: WorkerContext, routes: RoutesReader, io: LinuxSocketIo): FamilyPath {
  const table = routes.tables[family.name]!;
  return {
    version: family.version,
    addresses: family === IPV4 ? IPV4_ADDRESSES : IPV6_ADDRESSES,
    routes: table,
    sender: new Sender(context, io, table, SOCKET_ADDRESS[family.name].size),
  };
}
