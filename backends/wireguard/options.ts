/**
 * The Backend object of a wireguard network.
 *
 * @module
 */
import { MIN_MTU_IPV4, MIN_MTU_IPV6 } from "../../lib/backend/mtu.ts";
import { OptionReader } from "../../lib/backend/option_reader.ts";
import type { ParsedOptions } from "../../lib/backend/types.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import type { Family } from "../../lib/net/family.ts";
import { isKey } from "../../lib/wireguard/keys.ts";

/** IPv6 header (40), UDP (8), and WireGuard's type (4), key (4), nonce (8) and tag (16): room over either family. */
export const OVERHEAD = 80;

/** Which devices there are, and which of a peer's addresses its datagrams go to. */
export type Mode = "separate" | "auto" | "ipv4" | "ipv6";

/** What the config says of the wireguard backend. */
export interface WireguardOptions {
  /** Pre-shared key of all peers. */
  readonly psk: string | undefined;
  /** UDP port of the device, and of the second device where each family has its own. */
  readonly listenPort: number;
  readonly listenPortV6: number;
  /** MTU before the overhead; undefined: the external interface's. */
  readonly mtu: number | undefined;
  readonly mode: Mode;
  /** Seconds between keepalives; 0: none. */
  readonly keepalive: number;
  /** Where WireGuard runs; auto: in the kernel if that has it. */
  readonly implementation: "auto" | "kernel" | "userspace";
}

/** Reads and checks the options. */
export function parseWireguardOptions(
  options: JsonObject,
  enabled: readonly Family[],
): ParsedOptions<WireguardOptions> {
  const reader = new OptionReader(options);
  const psk = reader.string("PSK", {
    ...{ secret: true, values: "32 bytes in base64" },
    help: "Pre-shared key of all peers, as wg genpsk prints it",
  });
  if (psk !== undefined && !isKey(psk)) {
    reader.fault("PSK", "must be a key as wg genpsk prints it: 32 bytes in base64", true);
  }
  const port = { min: 1, max: 65535, zeroIsUnset: true };
  const listenPort = reader.integer("ListenPort", { ...port, help: "UDP port of flannel-wg" }, 51820);
  const listenPortV6 = reader.integer(
    "ListenPortV6",
    { ...port, help: "UDP port of flannel-wg-v6, where each family has its own device" },
    51821,
  );
  const mode = reader.string("Mode", {
    oneOf: ["separate", "auto", "ipv4", "ipv6"],
    help: "A device for each family, or one for both over the family that is named (auto: the one there is)",
  }, "separate") as Mode;
  if (mode === "separate" && listenPort === listenPortV6) {
    reader.fault("ListenPortV6", "must differ from ListenPort where Mode is separate: there are two devices");
  }
  const least = enabled.some(({ name }) => name === "ipv6") ? MIN_MTU_IPV6 : MIN_MTU_IPV4;
  return reader.finish({
    ...{ psk, listenPort, listenPortV6, mode },
    mtu: reader.integer("MTU", {
      ...{ min: least + OVERHEAD, max: 65535, zeroIsUnset: true },
      help: `MTU before the overhead of ${OVERHEAD} bytes; with IPv6 at least ${MIN_MTU_IPV6 + OVERHEAD}`,
      defaultText: "the external interface's",
    }),
    keepalive: reader.integer("PersistentKeepaliveInterval", {
      min: 0,
      max: 65535,
      help: "Seconds between keepalives; 0: none",
    }, 0),
    implementation: reader.string(
      "Implementation",
      {
        oneOf: ["auto", "kernel", "userspace"],
        help:
          "WireGuard of the kernel, or wireguard-go or boringtun in PATH; auto: the kernel's if it has one",
      },
      "auto",
    ) as WireguardOptions["implementation"],
  });
}
