/**
 * WireGuard devices: the kernel's dump and the text of user-space implementations.
 *
 * @module
 */
import { isKey } from "../../../lib/wireguard/keys.ts";
import { joinParts, readDevicePart } from "../../../lib/wireguard/kernel.ts";
import type { WireguardDevice } from "../../../lib/wireguard/types.ts";
import { SystemError } from "../../../lib/ffi/errno.ts";
import { parseDevice, UapiError } from "../../../lib/wireguard/uapi.ts";
import { MalformedMessageError, readMessages } from "../../../lib/netlink/reader.ts";
import { type FuzzTarget, property, textOf } from "../target.ts";

export const WIREGUARD_TARGETS: readonly FuzzTarget[] = [
  {
    name: "wireguard-netlink",
    what: "a WireGuard device as the kernel dumps it",
    errors: [MalformedMessageError],
    dictionary: ["\x24\0\x01\0", "\x06\0\x05\0", "\x08\x80", "\x02\0", "\x0a\0"],
    open: () => (input) => {
      const parts: ReturnType<typeof readDevicePart>[] = [];
      const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
      readMessages(view, input.length, (message) => parts.push(readDevicePart(message)));
      checkDevice(joinParts(parts));
    },
  },
  {
    name: "wireguard-text",
    what: "a WireGuard device as an implementation in user space prints it",
    errors: [UapiError, SystemError],
    dictionary: [
      ...[
        "errno=0\n",
        "errno=-22\n",
        "public_key=",
        "private_key=",
        "preshared_key=",
        "endpoint=",
        "allowed_ip=",
      ],
      ...[
        "listen_port=",
        "persistent_keepalive_interval=",
        "rx_bytes=",
        "tx_bytes=",
        "last_handshake_time_sec=",
      ],
      ...["[fe80::1%eth0]:1", "10.0.0.1:51820", "0.0.0.0/0", "::/0", "\n\n", "0".repeat(64)],
    ],
    open: () => (input) => checkDevice(parseDevice(textOf(input))),
  },
];

function checkDevice({ publicKey, listenPort, peers }: WireguardDevice): void {
  const isCount = (value: number) => Number.isFinite(value) && value >= 0;
  const isPort = (value: number) => Number.isInteger(value) && value >= 0 && value <= 65535;
  property(publicKey === undefined || isKey(publicKey), `the public key ${publicKey}`);
  property(isPort(listenPort), `the port ${listenPort}`);
  for (const peer of peers) {
    property(isKey(peer.publicKey), `a peer's public key ${peer.publicKey}`);
    property(peer.presharedKey === undefined || isKey(peer.presharedKey), "a peer's pre-shared key");
    property(isPort(peer.keepalive), `the keepalive ${peer.keepalive}`);
    property(!peer.endpoint || isPort(peer.endpoint.port), `the endpoint's port ${peer.endpoint?.port}`);
    property(
      [peer.receivedBytes, peer.sentBytes, peer.lastHandshake].every(isCount),
      "a counter isn't a number",
    );
    for (const { base, family, length } of peer.allowedIps) {
      property(length <= family.bits && base >> BigInt(family.bits) === 0n, "an allowed IP that isn't one");
    }
  }
}
