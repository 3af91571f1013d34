/**
 * The Backend object of a udp network.
 *
 * @module
 */
import type { JsonObject } from "../../../lib/config/types.ts";
import type { Family } from "../../../lib/net/family.ts";
import { MIN_MTU_IPV4, MIN_MTU_IPV6 } from "../../../lib/backend/mtu.ts";
import { OptionReader } from "../../../lib/backend/option_reader.ts";
import type { ParsedOptions } from "../../../lib/backend/types.ts";
import {
  CHECK_ADDRESS,
  CHECK_ADDRESS_AND_PORT,
  CHECK_NOTHING,
  type SourceCheck,
} from "../shared/source_check.ts";
import type { Offloads } from "../shared/offloads.ts";

/** What the config says of the udp backend. */
export interface UdpOptions {
  /** UDP port of every host whose lease names no other. */
  readonly port: number;
  /** MTU of the TUN; undefined: the external interface's less the outer headers. */
  readonly mtu: number | undefined;
  /** The offloads that may be used where the kernel has them. */
  readonly offloads: Offloads;
  readonly sourceCheck: SourceCheck;
  /** Threads: 1 for both directions, 2 for one each; undefined: by the number of processors. */
  readonly workers: number | undefined;
}

/** Reads and checks the options. `Offload` is the default of all finer switches. */
export function parseUdpOptions(
  options: JsonObject,
  enabled: readonly Family[],
): ParsedOptions<UdpOptions> {
  const reader = new OptionReader(options);
  const port = reader.integer("Port", { min: 1, max: 65535, help: "UDP port of every host" }, 8285);
  const hasIpv6 = enabled.some(({ name }) => name === "ipv6");
  const mtu = reader.integer("MTU", {
    min: hasIpv6 ? MIN_MTU_IPV6 : MIN_MTU_IPV4,
    max: 65507,
    zeroIsUnset: true,
    help: "MTU of the TUN and for containers; with IPv6 at least 1280",
    defaultText: "the external interface's less 28 (IPv4) or 48 (IPv6)",
  });
  const offload = reader.boolean("Offload", true, { help: "All of the switches below that aren't set" });
  const text = (help: string, defaultText = "Offload's") => ({ help, defaultText });
  const tso = reader.boolean("TSO", offload, text("The TUN takes and gives up to 64 KiB at once"));
  const uso = reader.boolean("USO", offload && tso, text("UDP in such pieces, too", "TSO's"));
  const merge = reader.boolean(
    "Merge",
    offload && tso,
    text("Received packets are merged into such pieces", "TSO's"),
  );
  const offloads: Offloads = {
    vnetHeader: tso,
    uso: uso && tso,
    segment: reader.boolean(
      "UDPSegment",
      offload,
      text("The kernel cuts what is sent to one peer into datagrams"),
    ),
    gro: reader.boolean("UDPGRO", offload, text("The kernel gives several received datagrams at once")),
    mergeTcp: merge && tso,
    mergeUdp: merge && uso && tso,
    batch: reader.boolean("Batch", offload, text("Several messages in one system call")),
  };
  const sourceCheck = readSourceCheck(reader);
  const workers = reader.integer("Workers", {
    ...{ min: 1, max: 2, zeroIsUnset: true, help: "Threads: one for both directions, or one for each" },
    defaultText: "by the number of processors",
  });
  return reader.finish({ port, mtu, offloads, sourceCheck, workers });
}

function readSourceCheck(reader: OptionReader): SourceCheck {
  const value = reader.raw("SourceCheck");
  reader.declare("SourceCheck", 'true, false or "address"', {
    help:
      "Packets from others than the peer whose subnet they claim are dropped; address: its port may be any",
  }, true);
  const known: readonly (readonly [boolean | string, SourceCheck])[] = [
    [true, CHECK_ADDRESS_AND_PORT],
    ["address", CHECK_ADDRESS],
    [false, CHECK_NOTHING],
  ];
  const folded = typeof value === "string" ? value.toLowerCase() : value;
  const match = value === undefined ? known[0] : known.find(([word]) => word === folded);
  if (!match) reader.fault("SourceCheck", 'must be true, false or "address" (a sender\'s port may be any)');
  reader.keep("SourceCheck", match?.[0] ?? true);
  return match?.[1] ?? CHECK_ADDRESS_AND_PORT;
}
