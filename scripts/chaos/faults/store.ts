/**
 * Faults of etcd, and of the way to it.
 *
 * @module
 */
import type { Fault } from "../fault.ts";

/** Drops between a port of the switch and other ports, both ways, in an nft table of this name. */
function dropBetween(table: string, port: string, others: readonly string[]): string {
  const set = others.length === 0 ? "" : `{ ${others.join(", ")} }`;
  return `table bridge ${table} {
    chain forward {
      type filter hook forward priority 0;
      iifname ${port}${set && ` oifname ${set}`} drop
      oifname ${port}${set && ` iifname ${set}`} drop
    }
  }`;
}

export const STORE_FAULTS: readonly Fault[] = [
  {
    name: "etcd killed",
    claims: "store",
    lasts: [500, 8000],
    begin: ({ network }) => network.cluster.killAll(),
    end: ({ network }) => network.cluster.startAll(),
  },
  {
    name: "etcd compacted",
    claims: "store",
    begin: ({ network }) => network.cluster.compact(),
  },
  {
    name: "etcd wiped",
    claims: "store",
    async begin({ network }) {
      await network.cluster.wipe();
      await network.writeConfig();
    },
  },
  {
    name: "etcd restored from an older snapshot",
    claims: "store",
    begin: ({ network }) => network.cluster.restore(network.snapshot),
  },
  {
    name: "etcd member cut off",
    claims: "store",
    lasts: [1000, 10_000],
    async begin({ network, random }) {
      const { port } = network.cluster.members[random.below(3)]!;
      await network.applyOnSwitch(dropBetween("member", port, []));
    },
    end: ({ network }) => network.deleteOnSwitch("member"),
  },
  {
    name: "etcd member cut off from the other members",
    claims: "store",
    lasts: [1000, 10_000],
    async begin({ network, random }) {
      const ports = network.cluster.members.map(({ port }) => port);
      const [port] = ports.splice(random.below(3), 1);
      await network.applyOnSwitch(dropBetween("quorum", port!, ports));
    },
    end: ({ network }) => network.deleteOnSwitch("quorum"),
  },
  {
    name: "host cut off from etcd",
    claims: "store path",
    lasts: [1000, 12_000],
    async begin({ network, host }) {
      const members = network.cluster.members.map(({ port }) => port);
      await network.applyOnSwitch(dropBetween(`cut-${host.label}`, host.port, members));
    },
    end: ({ network, host }) => network.deleteOnSwitch(`cut-${host.label}`),
  },
];
