/**
 * Two hosts of a udp network in network namespaces, one container each:
 *
 *     container 10.7.1.2 ── cni0 │ host 172.30.0.1 ── wire ── host 172.30.0.2 │ cni0 ── container 10.7.2.2
 *
 * @module
 */
import { TextLineStream } from "../../scripts/text_lines.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import { ownPrefix, removeNamespace } from "../../scripts/lab/leftovers.ts";
import { Namespace } from "../../scripts/lab/namespace.ts";
import { ipBatch } from "../../scripts/lab/process.ts";
import type { UdpHostSpec, UdpPeerSpec } from "./udp_host.ts";

/** The whole network. */
export const NETWORK = "10.7.0.0/16";
const HOST_PROGRAM = new URL("./udp_host.ts", import.meta.url).pathname;

/** A running backend on a host. */
export class UdpDaemon implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #errors: Promise<string>;

  constructor(host: UdpHost, spec: UdpHostSpec) {
    const [program, ...args] = host.namespace.enter;
    this.#child = new Deno.Command(program!, {
      args: [...args, Deno.execPath(), "run", "-A", "--no-lock", HOST_PROGRAM, JSON.stringify(spec)],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
      .getReader();
    this.#input = this.#child.stdin.getWriter();
    this.#errors = new Response(this.#child.stderr).text();
  }

  /** Process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Waits for the next answer. @throws {Error} With what the program wrote if it ended instead. */
  async answer(): Promise<JsonObject> {
    const { value, done } = await this.#lines.read();
    if (done) throw new Error(`The udp host ended: ${await this.#errors}`);
    return JSON.parse(value) as JsonObject;
  }

  async #order(order: Record<string, unknown>): Promise<JsonObject> {
    await this.#input.write(new TextEncoder().encode(`${JSON.stringify(order)}\n`));
    return await this.answer();
  }

  /** Sets the peers. */
  async peers(peers: readonly UdpPeerSpec[]): Promise<void> {
    await this.#order({ peers });
  }

  /** The forwarder's status. */
  async status(): Promise<UdpStatus> {
    return await this.#order({ status: true }) as unknown as UdpStatus;
  }

  /** Makes the device again if it is gone, as the daemon's reconciler does. */
  async keep(): Promise<void> {
    await this.#order({ keep: true });
  }

  /** What it wrote to its standard error; after it has ended. */
  errors(): Promise<string> {
    return this.#errors;
  }

  /** Kills it at once. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#finish();
  }

  /** Ends it in order. @returns How long the backend took to end, in milliseconds. */
  async stop(): Promise<number> {
    await this.#input.close();
    const { stopped } = await this.answer();
    await this.#finish();
    return stopped as number;
  }

  /** Ends it in order. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#finish();
  }

  async #finish(): Promise<void> {
    await this.#child.status;
    await this.#lines.cancel();
    await this.#errors;
  }
}

/** The part of the status that tests look at. */
export interface UdpStatus {
  readonly device: string;
  readonly port: number;
  readonly peers: number;
  readonly offloads: Readonly<Record<string, boolean>>;
  readonly downgrades: number;
  readonly sentPackets: number;
  readonly sendCalls: number;
  readonly receivedPackets: number;
  readonly tunReads: number;
  readonly tunWrites: number;
  readonly mergedPackets: number;
  readonly icmpErrors: number;
  readonly splitSends: number;
  readonly sentBytes: number;
  readonly dropped: Readonly<Record<string, number>>;
}

/** One host. */
export interface UdpHost {
  readonly namespace: Namespace;
  readonly container: Namespace;
  readonly address: string;
  readonly subnet: string;
  /** The container's address. */
  readonly inner: string;
}

/** Both hosts; everything goes when it is disposed of. */
export class UdpRig implements AsyncDisposable {
  readonly #daemons = new Set<UdpDaemon>();

  private constructor(readonly hosts: readonly [UdpHost, UdpHost], readonly mtu: number) {}

  /** @param mtu Of the wire; containers get 28 less. */
  static async make(mtu = 1500): Promise<UdpRig> {
    const prefix = `${ownPrefix()}${Math.random().toString(36).slice(2, 6)}-`;
    const children = new Set<Deno.ChildProcess>();
    const hosts = [1, 2].map((n): UdpHost => ({
      namespace: new Namespace(`${prefix}u${n}`, children),
      container: new Namespace(`${prefix}v${n}`, children),
      address: `172.30.0.${n}`,
      subnet: `10.7.${n}.0/24`,
      inner: `10.7.${n}.2`,
    })) as [UdpHost, UdpHost];
    const rig = new UdpRig(hosts, mtu);
    try {
      await rig.#wire();
      return rig;
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #wire(): Promise<void> {
    const { mtu, hosts } = this;
    const [one, two] = hosts;
    await ipBatch(
      undefined,
      hosts.flatMap((h) => [`netns add ${h.namespace.name}`, `netns add ${h.container.name}`]),
    );
    await one.namespace.ip(
      `link add eth0 mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${two.namespace.name}`,
    );
    for (const { namespace, container, address, inner } of hosts) {
      const gateway = inner.replace(/2$/, "1");
      await namespace.sysctl({ "net/ipv4/ip_forward": "1", "net/ipv6/conf/default/disable_ipv6": "1" });
      await namespace.ip(
        "link set lo up",
        "link set eth0 up",
        `address add ${address}/24 dev eth0`,
        `link add cni0 mtu ${mtu - 28} type bridge`,
        `address add ${gateway}/24 dev cni0`,
        `link add veth1 mtu ${mtu - 28} type veth peer name eth0 mtu ${mtu - 28} netns ${container.name}`,
        "link set veth1 master cni0 up",
        "link set cni0 up",
      );
      await container.ip(
        "link set lo up",
        "link set eth0 up",
        `address add ${inner}/24 dev eth0`,
        `route add default via ${gateway}`,
      );
    }
  }

  /** What host `index` (0 or 1) is told: the other one is its only peer. */
  spec(index: 0 | 1, options: JsonObject = {}, more: Partial<UdpHostSpec> = {}): UdpHostSpec {
    const own = this.hosts[index], other = this.hosts[1 - index]!;
    return {
      network: NETWORK,
      subnet: own.subnet,
      address: own.address,
      mtu: this.mtu,
      options,
      peers: [{ subnet: other.subnet, address: other.address }],
      ...more,
    };
  }

  /** Starts the backend on a host and waits until it forwards. */
  async start(index: 0 | 1, options: JsonObject = {}, more: Partial<UdpHostSpec> = {}): Promise<UdpDaemon> {
    const daemon = new UdpDaemon(this.hosts[index], this.spec(index, options, more));
    this.#daemons.add(daemon);
    await daemon.answer();
    return daemon;
  }

  /** Starts both hosts with the same options. */
  async startBoth(options: JsonObject = {}): Promise<[UdpDaemon, UdpDaemon]> {
    return await Promise.all([this.start(0, options), this.start(1, options)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.#daemons].map((daemon) => daemon[Symbol.asyncDispose]()));
    for (const { namespace, container } of this.hosts) {
      await removeNamespace(container.name);
      await removeNamespace(namespace.name);
    }
  }
}
