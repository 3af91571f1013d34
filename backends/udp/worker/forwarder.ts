/**
 * The loop that carries packets: everything on one thread, by synchronous calls, until it is told to stop.
 *
 * @module
 */
import { addressOf } from "../../../lib/ffi/libc.ts";
import { allocatePacketMemory } from "../../../lib/packet/memory.ts";
import { countersOf } from "../shared/counters.ts";
import { IcmpErrors } from "./icmp_errors.ts";
import { Inbound } from "./inbound.ts";
import { Arena } from "./arena.ts";
import type { WorkerContext } from "./worker_context.ts";
import type { ForwardContext } from "./forward_context.ts";
import { Outbound } from "./outbound.ts";
import { LinuxPacketIo } from "./packet_io.ts";
import { Poller } from "./poller.ts";
import { Receiver } from "./receiver.ts";
import { RoutesReader } from "./routes_reader.ts";
import { SharedOffloads } from "../shared/offloads.ts";
import { Sender } from "./sender.ts";
import { TunWriter } from "./tun_writer.ts";
import type { WorkerEnd, WorkerSetup } from "../shared/worker_messages.ts";

/** Enough for the buffers of both directions on any offload. */
const MEMORY_BYTES = 3 << 20;

/**
 * How often the packet calls are warmed up, in idle moments: V8 makes direct calls of them only once the functions
 * around them are optimised.
 */
const WARM_UPS = 200;

/** Places of the poller's descriptors; the first one only wakes it. */
const TUN = 1, SOCKET = 2;

/**
 * Forwards packets on the calling thread until the setup's stop word is set or the TUN is gone.
 *
 * No call waits but the poller's: whatever wire and peers do, a stop or a new routing table takes effect within one
 * batch of packets.
 *
 * @param onRunning Called when all is in place.
 */
export function forward(setup: WorkerSetup, onRunning: () => void): WorkerEnd {
  const { io, routes, outbound, inbound, writer } = assemble(setup);
  const stop = new Int32Array(setup.stop);
  // poll(2) passes over a descriptor of -1: a direction that is another worker's.
  const poller = new Poller([setup.wake, outbound ? setup.tun : -1, inbound ? setup.socket : -1]);
  onRunning();
  for (let cold = WARM_UPS; Atomics.load(stop, 0) === 0;) {
    if (!poller.wait(cold > 0 ? 0 : -1)) {
      if (cold === 0) continue;
      io.warmUp();
      cold--;
      continue;
    }
    routes.enter();
    if (outbound && poller.isReady(TUN)) {
      outbound.turn();
      if (outbound.fault !== 0) return { kind: "tun", errno: outbound.fault };
    }
    if (inbound && poller.isReady(SOCKET)) inbound.turn();
    if (writer.fault !== 0) return { kind: "tun", errno: writer.fault };
    routes.leave();
  }
  return { kind: "stopped" };
}

function assemble(setup: WorkerSetup) {
  const memory = allocatePacketMemory(MEMORY_BYTES);
  const arena = new Arena(memory.size);
  const base = Number(addressOf(memory.u8));
  const offloads = new SharedOffloads(setup.offloads);
  const counters = countersOf(setup.counters, setup.worker);
  const io = new LinuxPacketIo(memory, setup.tun, setup.socket);
  const routes = new RoutesReader(setup.routes, setup.shape, setup.worker);
  const parts: WorkerContext = { memory, arena, base, io, offloads, counters };
  const sender = new Sender(parts);
  const writer = new TunWriter(parts);
  const icmp = new IcmpErrors(memory, arena, counters, () => performance.now());
  const context: ForwardContext = { ...parts, routes, sender, writer, icmp };
  const outbound = setup.outbound ? new Outbound(context) : undefined;
  const inbound = setup.inbound ? new Inbound(context, new Receiver(parts), setup.sourceCheck) : undefined;
  return { io, routes, writer, outbound, inbound };
}
