/**
 * The wires of a lab: a namespace that is switch and router, and one for each host.
 *
 *     segment 0            switch            segment 1
 *     h1 eth0 ──┐     ┌────────────┐     ┌── eth0 h2
 *     h3 eth0 ──┴─ br0│ .254   .254│br1 ─┴── eth0 h4
 *
 * With one segment there is only br0. Hosts have their default route through the switch.
 *
 * @module
 */
import type { FamilyName, PerFamily } from "../../lib/net/family.ts";
import { ipBatch } from "./process.ts";
import { type Children, Namespace } from "./namespace.ts";

/** What the wires are to be. */
export interface UnderlayOptions {
  readonly hosts: number;
  readonly families: readonly FamilyName[];
  /** Of hosts' interfaces, in bytes. */
  readonly mtu: number;
  /** 2: every second host sits behind the router. */
  readonly segments: 1 | 2;
}

/** The underlay's addresses, per family. */
const PLAN: Readonly<
  Record<FamilyName, {
    readonly length: number;
    host(segment: number, number: number): string;
    gateway(segment: number): string;
  }>
> = {
  ipv4: {
    length: 24,
    host: (segment, number) => `172.30.${segment}.${number}`,
    gateway: (segment) => `172.30.${segment}.254`,
  },
  ipv6: {
    length: 64,
    host: (segment, number) => `fd00:30:0:${segment}::${number.toString(16)}`,
    gateway: (segment) => `fd00:30:0:${segment}::fe`,
  },
};

/** A host's place on the wires. */
export interface HostPort {
  readonly namespace: Namespace;
  /** Counted from 1. */
  readonly number: number;
  readonly segment: number;
  /** Addresses of its eth0. */
  readonly addresses: PerFamily<string>;
}

/** The finished wires. */
export interface Underlay {
  readonly switch: Namespace;
  /** The switch's address that every host reaches. */
  readonly switchAddress: string;
  readonly ports: readonly HostPort[];
}

/** Forwarding on, and no waiting for duplicate addresses. */
const ROUTER_SETTINGS = {
  "net/ipv4/ip_forward": "1",
  "net/ipv6/conf/all/forwarding": "1",
  "net/ipv6/conf/default/accept_dad": "0",
};

function addressLines(
  options: UnderlayOptions,
  device: string,
  of: (family: FamilyName) => string,
): string[] {
  return options.families.map((family) => {
    const nodad = family === "ipv6" ? " nodad" : "";
    return `address add ${of(family)}/${PLAN[family].length} dev ${device}${nodad}`;
  });
}

/** Makes the namespaces `PREFIXsw`, `PREFIXh1`, … and connects them. */
export async function makeUnderlay(
  prefix: string,
  options: UnderlayOptions,
  children: Children,
): Promise<Underlay> {
  const middle = new Namespace(`${prefix}sw`, children);
  const ports = Array.from({ length: options.hosts }, (_, index): HostPort => {
    const segment = options.segments === 2 ? index % 2 : 0;
    const addresses: Partial<Record<FamilyName, string>> = {};
    for (const family of options.families) addresses[family] = PLAN[family].host(segment, index + 1);
    return {
      namespace: new Namespace(`${prefix}h${index + 1}`, children),
      number: index + 1,
      segment,
      addresses,
    };
  });
  await ipBatch(
    undefined,
    [middle, ...ports.map((port) => port.namespace)].map(({ name }) => `netns add ${name}`),
  );
  await Promise.all([middle, ...ports.map((port) => port.namespace)].map((n) => n.sysctl(ROUTER_SETTINGS)));
  await wireSwitch(middle, ports, options);
  await Promise.all(ports.map((port) => wireHost(port, options)));
  return { switch: middle, switchAddress: PLAN[options.families[0]!].gateway(0), ports };
}

async function wireSwitch(
  middle: Namespace,
  ports: readonly HostPort[],
  options: UnderlayOptions,
): Promise<void> {
  const lines = ["link set lo up"];
  for (let segment = 0; segment < options.segments; segment++) {
    lines.push(`link add br${segment} mtu ${options.mtu} type bridge`, `link set br${segment} up`);
    lines.push(...addressLines(options, `br${segment}`, (family) => PLAN[family].gateway(segment)));
  }
  for (const { number, segment, namespace } of ports) {
    const peer = `peer name eth0 mtu ${options.mtu} netns ${namespace.name}`;
    lines.push(`link add p${number} mtu ${options.mtu} type veth ${peer}`);
    lines.push(`link set p${number} master br${segment} up`);
  }
  await middle.ip(...lines);
}

async function wireHost(port: HostPort, options: UnderlayOptions): Promise<void> {
  await port.namespace.ip(
    "link set lo up",
    "link set eth0 up",
    ...addressLines(options, "eth0", (family) => port.addresses[family]!),
    ...options.families.map((family) => `route add default via ${PLAN[family].gateway(port.segment)}`),
  );
}
