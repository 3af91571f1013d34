/**
 * A daemon's side for one backend in a test: config, session, log and metrics that can be read, and a clock
 * that jumps.
 *
 * @module
 */
import type {
  Backend,
  BackendSession,
  OpenContext,
  OwnSubnets,
  RunningBackend,
} from "../../lib/backend/types.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import type { Clock } from "../../lib/time/clock.ts";
import type { FamilyConfig, NetworkConfig } from "../../lib/config/types.ts";
import type { Lease } from "../../lib/leases/types.ts";
import { DeclaredOptions } from "../../lib/options/spec.ts";
import { FAMILIES, type Family, perFamily } from "../../lib/net/family.ts";
import { type Ip, parseIp } from "../../lib/net/ip.ts";
import { firstIp, lastIp, parsePrefix, type Prefix } from "../../lib/net/prefix.ts";
import type { PartLog } from "../../lib/observe/log.ts";
import { Problems } from "../../lib/observe/problems.ts";
import { MetricsRegistry } from "../../lib/observe/metrics.ts";
import type { MetricSpec } from "../../lib/observe/metric_spec.ts";

/** A log that keeps its lines, fields and all. */
export class RecordedLog implements PartLog {
  readonly lines: string[] = [];
  #add(level: string, message: string, fields: unknown): void {
    this.lines.push(`${level} ${message} ${fields === undefined ? "" : Deno.inspect(fields)}`);
  }
  debug(message: string, fields?: unknown): void {
    this.#add("debug", message, fields);
  }
  info(message: string, fields?: unknown): void {
    this.#add("info", message, fields);
  }
  warn(message: string, fields?: unknown): void {
    this.#add("warn", message, fields);
  }
  error(message: string, fields?: unknown): void {
    this.#add("error", message, fields);
  }
  /** The part isn't recorded. */
  child(): PartLog {
    return this;
  }
  /** All lines in one. */
  get text(): string {
    return this.lines.join("\n");
  }
}

/** Metrics that can be asked. */
export class RecordedMetrics extends MetricsRegistry {
  /** Sum of all series of a metric that have a label of this value. */
  sumOf(spec: MetricSpec, value: string): number {
    const lines = this.render().text.split("\n").filter((line) => line.startsWith(`${spec.name}{`));
    return lines.filter((line) => line.includes(`="${value}"`))
      .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(" "))), 0);
  }
}

/** A clock whose sleeps last one millisecond and are remembered; long ones can be held. */
export class JumpingClock implements Clock {
  /** What was slept, in milliseconds. */
  readonly sleeps: number[] = [];
  /** Sleeps at least this long wait for {@link tick}; milliseconds. Longer than any back-off here. */
  holdFrom = 100_000;
  #time = Date.now();
  #held: (() => void)[] = [];
  #onHold: (() => void)[] = [];

  now = (): number => this.#time;
  date = (): number => this.#time;
  random = (): number => 0.5;
  sleep = (ms: number, signal?: AbortSignal): Promise<void> => {
    this.sleeps.push(ms);
    this.#time += ms;
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = ms >= this.holdFrom ? undefined : setTimeout(() => done(), 1);
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        this.#held = this.#held.filter((one) => one !== done);
        resolve();
      };
      signal?.addEventListener("abort", done);
      if (timer !== undefined) return;
      this.#held.push(done);
      for (const notify of this.#onHold.splice(0)) notify();
    });
  };

  /** Resolves when somebody sleeps a long sleep. */
  async idle(): Promise<void> {
    if (this.#held.length === 0) await new Promise<void>((resolve) => this.#onHold.push(resolve));
  }

  /** Ends the long sleep, waits for the next one: one more pass. */
  async tick(): Promise<void> {
    await this.idle();
    for (const done of [...this.#held]) done();
    await within("the next pass ends", this.idle());
  }
}

/** A host for backends in tests. */
export interface TestHost {
  readonly context: OpenContext;
  readonly log: RecordedLog;
  readonly metrics: RecordedMetrics;
  readonly clock: JumpingClock;
  readonly peers: Map<string, Lease>;
  readonly problems: Problems;
  /** Whether the store confirms the peers. */
  readonly store: { current: boolean };
  /** Ends the daemon. */
  readonly end: AbortController;
  lease(...subnets: string[]): OwnSubnets;
  session(lease: OwnSubnets): BackendSession;
}

/** Makes a host. @param networks The flannel networks, one a family. */
export function testHost(
  address: string,
  options: { networks?: readonly string[]; type?: string } = {},
): TestHost {
  const [log, metrics, clock, end] = [
    new RecordedLog(),
    new RecordedMetrics(),
    new JumpingClock(),
    new AbortController(),
  ];
  const peers = new Map<string, Lease>();
  const external = testInterface(address);
  const families = (options.networks ?? ["10.20.0.0/16"]).map((text) => familyConfig(parsePrefix(text)));
  const config: NetworkConfig = {
    families,
    enableNFTables: false,
    peerFilter: false,
    backend: { type: options.type ?? "test", options: {} },
  };
  const observe = { log, metrics, signal: end.signal };
  const store = { current: true };
  const problems = new Problems({ log, metrics, now: clock.now });
  const lease = (...subnets: string[]) => ({ subnets: subnetsOf(subnets) });
  return {
    context: {
      config,
      external,
      networkId: "/coreos.com/network",
      links: [],
      machineId: "",
      options: new DeclaredOptions(),
      ...observe,
    },
    log,
    metrics,
    clock,
    peers,
    problems,
    store,
    end,
    lease,
    session: (own) => ({
      publish: () => {},
      lease: own,
      plan: { mtu: 1500, links: [], entries: [], forPeer: () => ({ entries: [], paths: [] }) },
      external,
      peers: { peers, subscribe: () => ({ [Symbol.dispose]() {} }) },
      peersAreCurrent: () => store.current,
      ...observe,
      problems,
      fail: (error) => end.abort(error),
    }),
  };
}

/** A peer's lease. */
export function peerLease(address: string, ...subnets: string[]): Lease {
  return {
    subnets: subnetsOf(subnets),
    attributes: { publicIps: addressesOf(address), backendData: {} },
  };
}

/** An interface with one address. */
export function testInterface(address: string): ExternalInterface {
  const addresses = addressesOf(address);
  return { name: "eth0", index: 2, mtu: 1500, addresses, publicIps: addresses };
}

function addressesOf(text: string): Partial<Record<Family["name"], Ip>> {
  const ip = parseIp(text);
  return { [ip.family.name]: ip };
}

function subnetsOf(subnets: readonly string[]) {
  const prefixes = subnets.map(parsePrefix);
  return perFamily<Prefix>(FAMILIES, (family) => prefixes.find((prefix) => prefix.family === family));
}

function familyConfig(network: Prefix): FamilyConfig {
  const subnetLength = network.family.version === 4 ? 24 : 64;
  return {
    family: network.family,
    network,
    subnetLength,
    subnetMin: firstIp(network),
    subnetMax: lastIp(network),
  };
}

/** Waits until `is` holds. @throws {Error} After `seconds`. */
export async function until(what: string, is: () => boolean | Promise<boolean>, seconds = 10): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (!await is()) {
    if (performance.now() > end) throw new Error(`Not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The promise, or an error after `seconds`: a test that hangs must say where. */
export async function within<T>(what: string, promise: Promise<T>, seconds = 15): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`Not within ${seconds} s: ${what}`)), seconds * 1000);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Starts a backend that carries packets itself. @throws {TypeError} If the kernel carries its packets. */
export function startBackend(backend: Backend, session: BackendSession): Promise<RunningBackend> {
  if (backend.carrier === "session") return backend.start(session);
  throw new TypeError("The kernel carries this backend's packets: it has nothing to start");
}
