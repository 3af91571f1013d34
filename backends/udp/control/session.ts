/**
 * The running forwarder: sockets, workers and routes, kept going until the daemon ends.
 *
 * @module
 */
import { messageOf } from "../../../lib/errors.ts";
import { Wake } from "../../../lib/time/wake.ts";
import type { BackendSession, HostPlan, PeerChanges } from "../../../lib/backend/types.ts";
import type { JsonObject } from "../../../lib/config/types.ts";
import type { ExternalInterface } from "../../../lib/external/types.ts";
import type { Family } from "../../../lib/net/family.ts";
import { perFamily } from "../../../lib/net/family.ts";
import { SharedOffloads } from "../shared/offloads.ts";
import { routesShape } from "../shared/routes_layout.ts";
import { CHECK_NOTHING } from "../shared/source_check.ts";
import { OffloadWatch } from "./offload_watch.ts";
import type { UdpOptions } from "./options.ts";
import { acceptOwnErrors } from "./own_errors.ts";
import { ownEnd, ownRoutes, peerRoutes } from "./peer_route.ts";
import { describeOffloads, reportMetrics, statusOf } from "./report.ts";
import { RoutesWriter } from "./routes_writer.ts";
import { NoTunError } from "./tun_queue.ts";
import { closeEnds, mayPass, mustReopen, openEnds, type TunnelEnds, waitingFamilies } from "./tunnel_ends.ts";
import { WorkerPool } from "./worker_pool.ts";
import { DEVICE_LOSSES } from "./metrics.ts";

/** What the session is made for. */
export interface UdpSessionSetup {
  readonly options: UdpOptions;
  /** The network's address families. */
  readonly families: readonly Family[];
  readonly device: string;
  /** The port that this host listens on. */
  readonly port: number;
  /** Threads: 1 or 2. */
  readonly workers: number;
  /** How many subnets the network has. */
  readonly peers: number;
}

/** How long to wait before the TUN or the sockets are tried again, in milliseconds. */
const RETRY = 100;
/** How long to wait for workers to let go of the table to be written, in milliseconds. */
const PUBLISH_RETRY = 1;
/** How long the start waits for what it needs before it fails, in milliseconds. */
const START_PATIENCE = 3000;

/** The key under which it is reported that nothing is forwarded. */
const PROBLEM = "udp";

/** The key under which a family without an address is reported. */
const ADDRESS_PROBLEM = "udp address";

/** Forwards from {@link start} until it is disposed of. */
export class UdpSession implements AsyncDisposable {
  readonly #session: BackendSession;
  readonly #setup: UdpSessionSetup;
  readonly #routes: RoutesWriter;
  readonly #offloads = new SharedOffloads();
  readonly #pool: WorkerPool;
  readonly #watch: OffloadWatch;
  readonly #cleanup = new DisposableStack();
  #external: ExternalInterface;
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
    const shape = routesShape(setup.families, setup.peers);
    this.#routes = new RoutesWriter(shape, ownRoutes(session.lease));
    this.#pool = this.#cleanup.use(
      new WorkerPool({
        routes: this.#routes,
        shape,
        offloads: this.#offloads,
        sourceCheck: setup.options.sourceCheck,
        workers: directionsOf(setup.workers),
      }),
    );
    this.#watch = this.#cleanup.use(new OffloadWatch(session, this.#offloads, this.#pool.counters));
  }

  /** Opens everything and begins to forward. @throws {Error} If that can't be done. */
  async start(): Promise<void> {
    const { peers, metrics } = this.#session;
    this.#update(peers.peers);
    this.#cleanup.use(peers.subscribe((changes) => this.#update(changes)));
    this.#cleanup.use(reportMetrics(metrics, this.#pool.counters, this.#offloads));
    const ends = await this.#openPatiently(performance.now() + START_PATIENCE);
    if (!ends) return;
    await new Promise<void>((resolve) => {
      this.#carrying = this.#carry(ends, resolve).catch((error) => this.#session.fail(error)).finally(
        resolve,
      );
    });
  }

  /** Another address or interface: the sockets are opened again. */
  replan(_plan: HostPlan, external: ExternalInterface): void {
    const moved = mustReopen(this.#setup.families, this.#external, external);
    this.#external = external;
    this.#update(this.#session.peers.peers);
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

  /** Brings the routes of these peers up to date. */
  #update(peers: PeerChanges): void {
    const { log } = this.#session;
    const { families, options, port } = this.#setup;
    const own = ownEnd(this.#external, port);
    for (const [key, peer] of peers) {
      const routes = peer ? peerRoutes(families, peer, options.port, own) : {};
      if (!this.#routes.set(key, routes)) {
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

  /** Runs the workers, and opens everything again when the device is lost or an address changes. */
  async #carry(first: TunnelEnds, onRunning: () => void): Promise<void> {
    const { log, metrics, problems } = this.#session;
    for (let ends: TunnelEnds | undefined = first; ends; ends = await this.#openPatiently(Infinity)) {
      if (this.#closed) return closeEnds(ends);
      const { queue, sockets } = ends;
      const end = await this.#pool.run(
        queue.fd,
        perFamily(this.#setup.families, ({ name }) => sockets[name]?.fd),
        onRunning,
      );
      closeEnds(ends);
      if (this.#closed) return;
      if (end.kind === "failed") {
        this.#session.fail(new Error(`The udp backend's forwarder failed: ${end.message}`));
        return;
      }
      if (this.#restart) {
        log.info("The external address changed: the tunnel's sockets are opened again");
        continue;
      }
      metrics.count(DEVICE_LOSSES);
      const text = `device ${this.#setup.device} is gone, waiting until it is back`;
      problems.set(PROBLEM, text, { notReady: true });
    }
  }

  /** Opens until it works, the session is closed (undefined) or the deadline has passed. */
  async #openPatiently(deadline: number): Promise<TunnelEnds | undefined> {
    const { problems, signal } = this.#session;
    while (!this.#closed && !signal.aborted) {
      try {
        const ends = this.#open();
        problems.clear(PROBLEM, "forwarding again");
        return ends;
      } catch (error) {
        if (!mayPass(error) || performance.now() > deadline) throw error;
        const text = `${messageOf(error)}, retrying`;
        // The reconciler makes the device: at start a moment later, and at run time its loss is reported already.
        if (!(error instanceof NoTunError)) problems.set(PROBLEM, text, { notReady: true });
      }
      await this.#wake.within(RETRY);
      this.#wake.take();
    }
    return undefined;
  }

  #open(): TunnelEnds {
    const { options, port, device, families } = this.#setup;
    const { log, problems } = this.#session;
    this.#restart = false;
    const ends = openEnds({ families, device, port, offloads: options.offloads }, this.#external);
    this.#offloads.set(ends.offloads);
    this.#watch.restart();
    if (options.sourceCheck !== CHECK_NOTHING && ends.sockets.ipv4) acceptOwnErrors(device, problems);
    const waiting = waitingFamilies(families, ends).map(({ label }) => label).join(" and ");
    if (waiting === "") problems.clear(ADDRESS_PROBLEM);
    else {
      problems.set(
        ADDRESS_PROBLEM,
        `${this.#external.name} has no ${waiting} address, waiting until it has one`,
      );
    }
    log.info(`Forwarding between ${device} and UDP port ${Object.values(ends.sockets)[0]!.port}`, {
      offloads: describeOffloads(ends.offloads),
    });
    return ends;
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
