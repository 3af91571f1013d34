/**
 * The running forwarder: sockets, workers and routes, kept going until the daemon ends.
 *
 * @module
 */
import { messageOf } from "../../../lib/errors.ts";
import { SystemError } from "../../../lib/ffi/errno.ts";
import { closeFd } from "../../../lib/ffi/fd.ts";
import { writeKernelFile } from "../../../lib/ffi/kernel_file.ts";
import type { JsonObject } from "../../../lib/config/types.ts";
import { type Ip, sameIp } from "../../../lib/net/ip.ts";
import { Wake } from "../../../lib/time/wake.ts";
import type { BackendSession, HostPlan } from "../../../lib/backend/types.ts";
import type { ExternalInterface } from "../../../lib/external/types.ts";
import { CHECK_NOTHING } from "../shared/source_check.ts";
import type { UdpOptions } from "./options.ts";
import { ownEnd, ownRoute, peerRoute } from "./peer_route.ts";
import { describeOffloads, reportMetrics, statusOf } from "./report.ts";
import { type RoutesShape, routesShape } from "../shared/routes_layout.ts";
import { RoutesWriter } from "./routes_writer.ts";
import { OFFLOAD_TEXT, OFFLOADS, type Offloads, SharedOffloads } from "../shared/offloads.ts";
import { attachTun, NoTunError, type TunQueue } from "./tun_queue.ts";
import { openUdpSocket, type UdpSocket } from "./udp_socket.ts";
import { WorkerPool } from "./worker_pool.ts";

/** What the session is made for. */
export interface UdpSessionSetup {
  readonly options: UdpOptions;
  readonly device: string;
  /** The port that this host listens on. */
  readonly port: number;
  /** Threads: 1 or 2. */
  readonly workers: number;
  /** How many subnets the network has. */
  readonly peers: number;
}

/** How long to wait before the TUN or the socket is tried again, in milliseconds. */
const RETRY = 100;
/** How long to wait for workers to let go of the table that is to be written, in milliseconds. */
const PUBLISH_RETRY = 1;
/** How often to look whether a worker gave an offload up, in milliseconds. */
const OFFLOAD_WATCH = 5000;
/** How long the start waits for what it needs before it fails, in milliseconds. */
const START_PATIENCE = 3000;

/** The key under which `status` shows what is wrong with ICMP errors. */
const PROBLEM = "udp icmp";

/** Forwards from {@link start} until it is disposed of. */
export class UdpSession implements AsyncDisposable {
  readonly #session: BackendSession;
  readonly #setup: UdpSessionSetup;
  readonly #routes: RoutesWriter;
  readonly #offloads = new SharedOffloads();
  readonly #pool: WorkerPool;
  readonly #cleanup = new DisposableStack();
  #external: ExternalInterface;
  /** The offloads that the log knows of. */
  #announced: Offloads | undefined;
  #closed = false;
  #restart = false;
  #publishing: ReturnType<typeof setTimeout> | undefined;
  #carrying: Promise<void> | undefined;
  readonly #wake: Wake;

  constructor(session: BackendSession, setup: UdpSessionSetup) {
    this.#session = session;
    this.#wake = new Wake(session.signal);
    this.#setup = setup;
    this.#external = session.external;
    const shape: RoutesShape = routesShape(setup.peers);
    this.#routes = new RoutesWriter(shape, ownRoute(session.lease));
    this.#pool = this.#cleanup.use(
      new WorkerPool({
        routes: this.#routes,
        shape,
        offloads: this.#offloads,
        sourceCheck: setup.options.sourceCheck,
        workers: directionsOf(setup.workers),
      }),
    );
  }

  /** Opens everything and begins to forward. @throws {Error} If that can't be done. */
  async start(): Promise<void> {
    const { peers, metrics } = this.#session;
    this.#update([...peers.peers.keys()]);
    this.#cleanup.use(peers.subscribe((keys) => this.#update(keys)));
    this.#cleanup.use(reportMetrics(metrics, this.#pool.counters, this.#offloads));
    const watch = setInterval(() => this.#tellDowngrades(), OFFLOAD_WATCH);
    this.#cleanup.defer(() => clearInterval(watch));
    const ends = await this.#openPatiently(performance.now() + START_PATIENCE);
    if (!ends) return;
    await new Promise<void>((resolve) => {
      this.#carrying = this.#carry(ends, resolve).catch((error) => this.#session.fail(error)).finally(
        resolve,
      );
    });
  }

  /** Another address or interface: the socket is opened again. */
  replan(_plan: HostPlan, external: ExternalInterface): void {
    const moved = !sameIp(external.addresses.ipv4, this.#external.addresses.ipv4);
    this.#external = external;
    this.#update([...this.#session.peers.peers.keys()]);
    if (!moved) return;
    this.#restart = true;
    this.#pool.stop();
    this.#wake.up("event");
  }

  /** What `status --json` shows. */
  status(): JsonObject {
    return statusOf(this.#pool.counters, this.#offloads, {
      device: this.#setup.device,
      port: this.#setup.port,
      peers: this.#routes.size,
      workers: this.#setup.workers,
    });
  }

  /** A worker takes an offload back when the kernel refuses it; here people hear of it. */
  #tellDowngrades(): void {
    const before = this.#announced;
    const now = this.#announced = this.#offloads.current;
    for (const offload of OFFLOADS) {
      if (!before?.[offload] || now[offload]) continue;
      this.#session.log.warn(`The kernel refused ${OFFLOAD_TEXT[offload]}: going on without`, {
        offloads: describeOffloads(now),
      });
    }
  }

  /** Brings the routes of these peers up to date. */
  #update(keys: readonly string[]): void {
    const { peers, log } = this.#session;
    const own = ownEnd(this.#external, this.#setup.port);
    for (const key of keys) {
      const peer = peers.peers.get(key);
      const route = peer && peerRoute(peer, this.#setup.options.port, own);
      if (!this.#routes.set(key, typeof route === "object" ? route : undefined)) {
        log.error("The routing table is full: a peer can't be reached", { peer: key });
      }
    }
    this.#publish();
  }

  #publish(): void {
    clearTimeout(this.#publishing);
    if (this.#closed || this.#routes.publish()) return;
    this.#publishing = setTimeout(() => this.#publish(), PUBLISH_RETRY);
  }

  /** Runs the workers, and opens everything again when the device is lost or the address changes. */
  async #carry(first: Ends, onRunning: () => void): Promise<void> {
    const { log, metrics, problems } = this.#session;
    for (let ends: Ends | undefined = first; ends; ends = await this.#openPatiently(Infinity)) {
      if (this.#closed) return close(ends);
      const end = await this.#pool.run(ends.queue.fd, ends.socket.fd, onRunning);
      close(ends);
      if (this.#closed) return;
      if (end.kind === "failed") {
        this.#session.fail(new Error(`The udp backend's forwarder failed: ${end.message}`));
        return;
      }
      if (this.#restart) {
        log.info("The external address changed: the tunnel's socket is opened again");
        continue;
      }
      metrics.count("udp_device_losses_total", "How often the TUN was lost under the forwarder");
      const text = `device ${this.#setup.device} is gone, waiting until it is back`;
      problems.set("udp", text, { notReady: true });
    }
  }

  /** Opens until it works, the session is closed (undefined) or the deadline has passed. */
  async #openPatiently(deadline: number): Promise<Ends | undefined> {
    const { problems, signal } = this.#session;
    while (!this.#closed && !signal.aborted) {
      try {
        const ends = this.#open();
        problems.clear("udp", "forwarding again");
        return ends;
      } catch (error) {
        if (!mayPass(error) || performance.now() > deadline) throw error;
        const text = `${messageOf(error)}, trying again`;
        // The reconciler makes the device: at start a moment later, and at run time its loss is reported already.
        if (!(error instanceof NoTunError)) problems.set("udp", text, { notReady: true });
      }
      await this.#wake.within(RETRY);
      this.#wake.take();
    }
    return undefined;
  }

  #open(): Ends {
    const { options, port, device } = this.#setup;
    this.#restart = false;
    const socket = openUdpSocket(this.#address(), port, options.offloads);
    try {
      const queue = attachTun(device, options.offloads, socket.fd);
      const offloads = inForce(options.offloads, queue, socket);
      this.#offloads.set(offloads);
      this.#announced = offloads;
      if (options.sourceCheck !== CHECK_NOTHING) this.#acceptOwnErrors();
      this.#session.log.info(`Forwarding between ${device} and UDP port ${socket.port}`, {
        offloads: describeOffloads(offloads),
      });
      return { queue, socket };
    } catch (error) {
      closeFd(socket.fd);
      throw error;
    }
  }

  /**
   * ICMP errors come into the TUN from this host's own address in the tunnel, which the kernel takes for forged
   * (a martian) unless told otherwise. Nobody else gets such a packet in: the source check stands before it.
   */
  #acceptOwnErrors(): void {
    const { device } = this.#setup;
    const { problems } = this.#session;
    try {
      writeKernelFile(`/proc/sys/net/ipv4/conf/${device}/accept_local`, "1");
      problems.clear(PROBLEM);
    } catch (error) {
      problems.set(
        PROBLEM,
        `cannot set accept_local of ${device}, local senders get no ICMP errors: ${messageOf(error)}`,
      );
    }
  }

  #address(): Ip {
    const address = this.#external.addresses.ipv4;
    if (!address) throw new NoAddressError(`The interface ${this.#external.name} has no IPv4 address`);
    return address;
  }

  /** Stops forwarding. The TUN stays, with its routes and the connections that go through it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#publishing);
    this.#wake.up("event");
    this.#pool.stop();
    await this.#carrying;
    this.#cleanup.dispose();
  }
}

function directionsOf(workers: number): { outbound: boolean; inbound: boolean }[] {
  if (workers === 1) return [{ outbound: true, inbound: true }];
  return [{ outbound: true, inbound: false }, { outbound: false, inbound: true }];
}

/** The two ends of the tunnel. */
interface Ends {
  readonly queue: TunQueue;
  readonly socket: UdpSocket;
}

function close({ queue, socket }: Ends): void {
  closeFd(queue.fd);
  closeFd(socket.fd);
}

/** What is wanted and what there is. */
function inForce(wanted: Offloads, queue: TunQueue, socket: UdpSocket): Offloads {
  return {
    vnetHeader: queue.vnetHeader,
    uso: queue.uso,
    segment: socket.segment,
    gro: socket.gro,
    mergeTcp: wanted.mergeTcp && queue.vnetHeader,
    mergeUdp: wanted.mergeUdp && queue.uso,
    batch: wanted.batch,
  };
}

/** Whether waiting may help: the device isn't made yet, the address isn't there yet, a predecessor isn't gone yet. */
function mayPass(error: unknown): boolean {
  return error instanceof NoTunError || error instanceof NoAddressError || error instanceof SystemError;
}

/** The external interface lost its address; it may get one again. */
class NoAddressError extends Error {
  override readonly name = "NoAddressError";
}
