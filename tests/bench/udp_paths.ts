/**
 * The ways from container to container that the udp benchmark compares, on one pair of hosts. Inside and outside are
 * of one address family, that of the rig's traffic.
 *
 * @module
 */
import type { JsonObject } from "../../lib/config/types.ts";
import { run } from "../../scripts/lab/process.ts";
import type { UdpHost, UdpRig } from "../lab/udp_rig.ts";

/** One way; it is made, measured and taken away again. */
export interface Path {
  readonly name: string;
  /** Makes it; disposing of the result takes it away. */
  open(rig: UdpRig): Promise<AsyncDisposable>;
  /** Packets go from host to host instead of from container to container. */
  readonly bare?: boolean;
}

/** What VXLAN adds to the outer headers of UDP, in bytes. */
const VXLAN_AND_ETHERNET = 22;

/** The wire itself. */
export const wire: Path = {
  name: "bare wire, host to host",
  bare: true,
  open: () => Promise.resolve({ [Symbol.asyncDispose]: () => Promise.resolve() }),
};

/** The kernel's VXLAN. */
export const vxlan: Path = {
  name: "kernel VXLAN",
  async open(rig) {
    const mtu = rig.mtu - rig.overhead - VXLAN_AND_ETHERNET;
    const bits = rig.mode.traffic === "ipv4" ? 32 : 128;
    for (const host of rig.hosts) {
      const other = rig.hosts[2 - host.n]!;
      const ends = `local ${host.address} remote ${other.address}`;
      await host.namespace.ip(
        `link add vx7 mtu ${mtu} type vxlan id 7 ${ends} dstport 8472 dev eth0`,
        `address add ${rig.innerOf(host.n, 0)}/${bits} dev vx7`,
        "link set vx7 up",
        `route add ${other.subnet} via ${rig.innerOf(other.n, 0)} dev vx7 onlink`,
      );
    }
    await setContainerMtu(rig, mtu);
    return {
      async [Symbol.asyncDispose]() {
        await removeLinks(rig, "vx7");
        await setContainerMtu(rig, rig.mtu - rig.overhead);
      },
    };
  },
};

/** The udp backend with these options. */
export function udpPath(name: string, options: JsonObject): Path {
  return {
    name,
    async open(rig) {
      const daemons = await rig.startBoth(options);
      return {
        async [Symbol.asyncDispose]() {
          for (const daemon of daemons) await daemon[Symbol.asyncDispose]();
          await removeLinks(rig, "flannel0");
        },
      };
    },
  };
}

/** Builds the loop in C. @returns The program, or undefined where there is no C compiler. */
export async function buildBaseline(folder: string): Promise<string | undefined> {
  const source = new URL("./udp_baseline.c", import.meta.url).pathname;
  const program = `${folder}/udp_baseline`;
  try {
    await run(["cc", "-O2", "-o", program, source]);
    return program;
  } catch {
    return undefined;
  }
}

/** The loop in C, which knows IPv4 alone; undefined where there is no C compiler. */
export async function baselinePath(folder: string): Promise<Path | undefined> {
  const program = await buildBaseline(folder);
  if (program === undefined) return undefined;
  return { name: "the same loop in C", open: (rig) => openBaseline(rig, program) };
}

async function openBaseline(rig: UdpRig, program: string): Promise<AsyncDisposable> {
  const sides = [await openBaselineSide(rig, 0, program), await openBaselineSide(rig, 1, program)];
  return {
    async [Symbol.asyncDispose]() {
      for (const side of sides) await side[Symbol.asyncDispose]();
    },
  };
}

/** The loop in C on one host only. */
export async function openBaselineSide(rig: UdpRig, side: 0 | 1, program: string): Promise<AsyncDisposable> {
  const host = rig.hosts[side], other = rig.hosts[1 - side]!;
  await host.namespace.ip(
    "tuntap add dev base0 mode tun",
    `link set base0 mtu ${rig.mtu - rig.overhead} up`,
    `address add ${rig.innerOf(side + 1, 0)}/32 dev base0`,
    `route add ${rig.spec(side).networks[0]} dev base0`,
  );
  const child = startBaseline(program, host, other);
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
      await host.namespace.ip("link delete base0");
    },
  };
}

function startBaseline(program: string, host: UdpHost, other: UdpHost): Deno.ChildProcess {
  const [enter, ...args] = host.namespace.enter;
  const route = [other.subnet.split("/")[0]!, other.address, "8285"];
  return new Deno.Command(enter!, {
    args: [...args, program, "base0", host.address, "8285", ...route],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
}

async function removeLinks(rig: UdpRig, name: string): Promise<void> {
  for (const { namespace } of rig.hosts) await namespace.ip(`link delete ${name}`);
}

async function setContainerMtu(rig: UdpRig, mtu: number): Promise<void> {
  for (const { container } of rig.hosts) await container.ip(`link set eth0 mtu ${mtu}`);
}
