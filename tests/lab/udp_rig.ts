/**
 * Two hosts of a udp network in network namespaces, one container each:
 *
 *     container 10.7.1.2 ── cni0 │ host 172.30.0.1 ── wire ── host 172.30.0.2 │ cni0 ── container 10.7.2.2
 *     fd07:0:0:1::2                     fd30::1                    fd30::2                 fd07:0:0:2::2
 *
 * @module
 */
import { TextLineStream } from "../../scripts/text_lines.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import type { FamilyName } from "../../lib/net/family.ts";
import { ownPrefix, removeNamespace } from "../../scripts/lab/leftovers.ts";
import { Namespace } from "../../scripts/lab/namespace.ts";
import { ipBatch } from "../../scripts/lab/process.ts";
import type { UdpHostSpec, UdpPeerSpec } from "./udp_host.ts";

/** Addresses of host `n` (1 or 2) and its container in one family. */
interface AddressPlan {
  readonly network: string;
  /** Prefix length of addresses on the wire and in the subnet. */
  readonly wireLength: number;
  readonly subnetLength: number;
  /** Bytes of outer headers. */
  readonly overhead: number;
  outer(n: number): string;
  /** Address `host` of subnet `n`. */
  inner(n: number, host: number): string;
  subnet(n: number): string;
}

/** The addresses of each family. */
const PLANS: Readonly<Record<FamilyName, AddressPlan>> = {
  ipv4: {
    ...{ network: "10.7.0.0/16", wireLength: 24, subnetLength: 24, overhead: 28 },
    outer: (n) => `172.30.0.${n}`,
    inner: (n, host) => `10.7.${n}.${host}`,
    subnet: (n) => `10.7.${n}.0/24`,
  },
  ipv6: {
    ...{ network: "fd07::/48", wireLength: 64, subnetLength: 64, overhead: 48 },
    outer: (n) => `fd30::${n.toString(16)}`,
    inner: (n, host) => `fd07:0:0:${n.toString(16)}::${host || ""}`,
    subnet: (n) => `fd07:0:0:${n.toString(16)}::/64`,
  },
};

/** The families of a network, and the one that a test's traffic takes. */
export interface UdpMode {
  readonly name: string;
  readonly families: readonly FamilyName[];
  readonly traffic: FamilyName;
}

/** What each part of the backend is tested with. */
export const IPV4_ONLY: UdpMode = { name: "IPv4", families: ["ipv4"], traffic: "ipv4" };
export const IPV6_ONLY: UdpMode = { name: "IPv6", families: ["ipv6"], traffic: "ipv6" };
export const DUAL_4: UdpMode = {
  name: "dual stack, IPv4 inside",
  families: ["ipv4", "ipv6"],
  traffic: "ipv4",
};
export const DUAL_6: UdpMode = {
  name: "dual stack, IPv6 inside",
  families: ["ipv4", "ipv6"],
  traffic: "ipv6",
};
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

/** One host, with the addresses of the family that the traffic takes. */
export interface UdpHost {
  readonly namespace: Namespace;
  readonly container: Namespace;
  /** Number, 1 or 2. */
  readonly n: number;
  readonly address: string;
  readonly subnet: string;
  /** The container's address. */
  readonly inner: string;
}

/** Both hosts; everything goes when it is disposed of. */
export class UdpRig implements AsyncDisposable {
  readonly #daemons = new Set<UdpDaemon>();

  private constructor(
    readonly hosts: readonly [UdpHost, UdpHost],
    readonly mtu: number,
    readonly mode: UdpMode,
  ) {}

  /** @param mtu Of the wire; containers get what the outer headers leave. */
  static async make(mode: UdpMode = IPV4_ONLY, mtu = 1500): Promise<UdpRig> {
    const plan = PLANS[mode.traffic];
    const prefix = `${ownPrefix()}${Math.random().toString(36).slice(2, 6)}-`;
    const children = new Set<Deno.ChildProcess>();
    const hosts = [1, 2].map((n): UdpHost => ({
      namespace: new Namespace(`${prefix}u${n}`, children),
      container: new Namespace(`${prefix}v${n}`, children),
      n,
      address: plan.outer(n),
      subnet: plan.subnet(n),
      inner: plan.inner(n, 2),
    })) as [UdpHost, UdpHost];
    const rig = new UdpRig(hosts, mtu, mode);
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
    const disabled = this.mode.families.includes("ipv6") ? "0" : "1";
    for (const each of hosts.flatMap(({ namespace, container }) => [namespace, container])) {
      await each.sysctl({
        "net/ipv4/ip_forward": "1",
        "net/ipv6/conf/default/disable_ipv6": disabled,
        "net/ipv6/conf/all/forwarding": "1",
        // A router that still checks whether its link-local address is taken asks for no neighbour.
        "net/ipv6/conf/default/accept_dad": "0",
        "net/ipv6/conf/default/dad_transmits": "0",
      });
    }
    await one.namespace.ip(
      `link add eth0 mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${two.namespace.name}`,
    );
    const inner = mtu - this.overhead;
    for (const { namespace, container, n } of hosts) {
      await namespace.ip(
        "link set lo up",
        "link set eth0 up",
        `link add cni0 mtu ${inner} type bridge`,
        `link add veth1 mtu ${inner} type veth peer name eth0 mtu ${inner} netns ${container.name}`,
        "link set veth1 master cni0 up",
        "link set cni0 up",
      );
      await container.ip("link set lo up", "link set eth0 up");
      for (const name of this.mode.families) {
        const plan = PLANS[name];
        const option = name === "ipv6" ? " nodad" : "";
        await namespace.ip(
          `address add ${plan.outer(n)}/${plan.wireLength} dev eth0${option}`,
          `address add ${plan.inner(n, 1)}/${plan.subnetLength} dev cni0${option}`,
        );
        await container.ip(
          `address add ${plan.inner(n, 2)}/${plan.subnetLength} dev eth0${option}`,
          `route add default via ${plan.inner(n, 1)}`,
        );
      }
    }
  }

  /** Bytes that the longer of the outer headers takes. */
  get overhead(): number {
    return Math.max(...this.mode.families.map((name) => PLANS[name].overhead));
  }

  /** The longest payload of UDP or of an ICMP echo that goes through the tunnel in one packet. */
  get mostPayload(): number {
    const header = this.mode.traffic === "ipv4" ? 20 : 40;
    return this.mtu - this.overhead - header - 8;
  }

  /** Address `host` of subnet `n`, of the traffic's family or another one. */
  innerOf(n: number, host: number, family: FamilyName = this.mode.traffic): string {
    return PLANS[family].inner(n, host);
  }

  /** The outer address of a host `n`. */
  outerOf(n: number): string {
    return PLANS[this.mode.traffic].outer(n);
  }

  /** How peers see host `n`, which need not be there. */
  peer(n: number, more: Partial<UdpPeerSpec> = {}): UdpPeerSpec {
    const plans = this.mode.families.map((name) => PLANS[name]);
    return {
      subnets: plans.map((plan) => plan.subnet(n)),
      addresses: plans.map((plan) => plan.outer(n)),
      ...more,
    };
  }

  /** The configuration of host `index` (0 or 1): the other one is its only peer. */
  spec(index: 0 | 1, options: JsonObject = {}, more: Partial<UdpHostSpec> = {}): UdpHostSpec {
    const own = this.hosts[index], other = this.hosts[1 - index]!;
    return {
      networks: this.mode.families.map((name) => PLANS[name].network),
      subnets: this.peer(own.n).subnets,
      addresses: this.peer(own.n).addresses,
      mtu: this.mtu,
      options,
      peers: [this.peer(other.n)],
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
