/**
 * The loop that carries packets: everything on one thread, by synchronous calls, until it is told to stop.
 *
 * @module
 */
import { POLLERR, POLLIN } from "../../../lib/ffi/fd.ts";
import { addressOf, libc } from "../../../lib/ffi/libc.ts";
import { allocatePacketMemory } from "../../../lib/packet/memory.ts";
import { countersOf } from "../shared/counters.ts";
import { IcmpErrors } from "./icmp_errors.ts";
import { Inbound } from "./inbound.ts";
import { POLLFD } from "../shared/structs.ts";
import { Arena } from "./arena.ts";
import type { WorkerContext } from "./worker_context.ts";
import type { ForwardContext } from "./forward_context.ts";
import { Outbound } from "./outbound.ts";
import { LinuxPacketIo } from "./packet_io.ts";
import { Receiver } from "./receiver.ts";
import { RoutesReader } from "./routes_reader.ts";
import { SharedOffloads } from "../shared/offloads.ts";
import { Sender } from "./sender.ts";
import { TunWriter } from "./tun_writer.ts";
import type { WorkerEnd, WorkerSetup } from "../shared/worker_messages.ts";

/** Enough for the buffers of both directions on any offload. */
const MEMORY_BYTES = 3 << 20;

/**
 * Forwards packets on the calling thread until the setup's stop word is set or the TUN is gone.
 *
 * @param onRunning Called when all is in place.
 */
export function forward(setup: WorkerSetup, onRunning: () => void): WorkerEnd {
  const { routes, outbound, inbound, writer } = assemble(setup);
  const stop = new Int32Array(setup.stop);
  const waiter = new Waiter(setup);
  onRunning();
  while (Atomics.load(stop, 0) === 0) {
    routes.enter();
    let work = 0;
    if (outbound) {
      work += outbound.turn();
      if (outbound.fault !== 0) return { kind: "tun", errno: outbound.fault };
    }
    if (inbound) work += inbound.turn();
    if (writer.fault !== 0) return { kind: "tun", errno: writer.fault };
    if (work > 0) continue;
    routes.leave();
    waiter.wait();
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
  return { routes, writer, outbound, inbound };
}

/** Sleeps until a packet comes or the eventfd is written to. */
class Waiter {
  readonly #libc = libc();
  readonly #set: Int32Array<ArrayBuffer>;
  readonly #address: bigint;
  readonly #count: bigint;

  constructor(setup: WorkerSetup) {
    const descriptors = [setup.wake];
    if (setup.outbound) descriptors.push(setup.tun);
    if (setup.inbound) descriptors.push(setup.socket);
    this.#set = new Int32Array(new ArrayBuffer(descriptors.length * POLLFD.size));
    descriptors.forEach((fd, i) => {
      this.#set[i * 2] = fd;
      this.#set[i * 2 + 1] = POLLIN | POLLERR;
    });
    this.#address = addressOf(this.#set);
    this.#count = BigInt(descriptors.length);
  }

  wait(): void {
    this.#libc.pollPackets(this.#address, this.#count, -1);
  }
}
