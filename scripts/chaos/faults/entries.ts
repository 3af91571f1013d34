/**
 * Faults of what flanneld made: its devices, and its entries in the kernel's tables.
 *
 * @module
 */
import type { ChaosHost } from "../chaos_host.ts";
import type { Fault } from "../fault.ts";
import type { ChaosBackend } from "../options.ts";

const WITH_DEVICE: readonly ChaosBackend[] = ["vxlan", "udp", "wireguard"];

/** Runs `ip` commands for each of the host's devices. */
async function eachDevice(host: ChaosHost, lines: (device: string) => readonly string[]): Promise<void> {
  for (const device of host.devices) await host.tryIp(...lines(device));
}

export const ENTRY_FAULTS: readonly Fault[] = [
  {
    name: "device deleted",
    claims: "device",
    backends: WITH_DEVICE,
    begin: ({ host }) => eachDevice(host, (device) => [`link delete ${device}`]),
  },
  {
    name: "device set down",
    claims: "device",
    backends: WITH_DEVICE,
    begin: ({ host }) => eachDevice(host, (device) => [`link set ${device} down`]),
  },
  {
    name: "device's addresses flushed",
    claims: "device",
    backends: WITH_DEVICE,
    begin: ({ host }) => eachDevice(host, (device) => [`address flush dev ${device}`]),
  },
  {
    name: "device renamed",
    claims: "device",
    backends: WITH_DEVICE,
    begin: ({ host, random }) =>
      eachDevice(host, (device) => {
        const name = `other${random.below(1000)}`;
        return [`link set ${device} down`, `link set ${device} name ${name}`, `link set ${name} up`];
      }),
  },
  {
    name: "routes flushed",
    claims: "entries",
    begin: ({ network, host }) => host.flushRoutes(network.prefixes),
  },
  {
    name: "neighbours flushed",
    claims: "entries",
    backends: ["vxlan"],
    begin: ({ host }) => eachDevice(host, (device) => [`neigh flush nud permanent dev ${device}`]),
  },
  {
    name: "forwarding entries flushed",
    claims: "entries",
    backends: ["vxlan"],
    async begin({ host }) {
      for (const device of host.devices) {
        const macs = (await host.host.fdb(device)).map((line) => line.split(" ")[0]);
        for (const mac of macs) {
          await host.host.exec(["bridge", "fdb", "delete", `${mac}`, "dev", device], { mayFail: true });
        }
      }
    },
  },
  {
    name: "WireGuard peers removed",
    claims: "entries",
    backends: ["wireguard"],
    async begin({ host }) {
      for (const device of host.devices) {
        const { stdout } = await host.seeing(["wg", "show", device, "peers"]);
        const words = stdout.split("\n").filter(Boolean).flatMap((key) => ["peer", key, "remove"]);
        if (words.length > 0) await host.seeing(["wg", "set", device, ...words]);
      }
    },
  },
  {
    name: "nft flush ruleset",
    claims: "entries",
    begin: async ({ host }) => void await host.host.exec(["nft", "flush", "ruleset"]),
  },
];
