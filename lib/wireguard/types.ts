/**
 * WireGuard devices and their peers as values, whichever implementation carries them.
 *
 * @module
 */
import { formatIp, type Ip } from "../net/ip.ts";
import type { Prefix } from "../net/prefix.ts";

/** Where a peer's datagrams go. */
export interface Endpoint {
  readonly ip: Ip;
  /** UDP port, 1 to 65535. */
  readonly port: number;
}

/** A desired peer. Keys are base64 of 32 bytes. */
export interface WireguardPeer {
  readonly publicKey: string;
  readonly presharedKey?: string;
  readonly endpoint?: Endpoint;
  /** Seconds between keepalives; 0: none. */
  readonly keepalive: number;
  readonly allowedIps: readonly Prefix[];
}

/** A peer as the device has it. */
export interface WireguardPeerState extends WireguardPeer {
  /** Seconds since 1970 of the last handshake; 0: none yet. */
  readonly lastHandshake: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** A device as it is. */
export interface WireguardDevice {
  /** Absent where none is set. */
  readonly publicKey?: string;
  readonly listenPort: number;
  readonly peers: readonly WireguardPeerState[];
}

/** What of a device is set; what is left out stays. */
export interface WireguardDeviceChange {
  readonly privateKey?: string;
  readonly listenPort?: number;
}

/** One change of one peer. */
export type PeerChange =
  /**
   * Makes it, or makes it say just this; the session of one that is there goes on, and so does its endpoint where none
   * is named. `greet`: begins a session at once, not with the first packet.
   */
  | { readonly verb: "set"; readonly peer: WireguardPeer; readonly greet?: boolean }
  | { readonly verb: "remove"; readonly publicKey: string };

/** A change that was refused. */
export interface PeerFailure {
  readonly change: PeerChange;
  readonly error: Error;
}

/** An implementation of WireGuard, as far as one device goes. */
export interface WireguardControl {
  /** @throws {Error} If the device isn't there or can't be read. */
  read(device: string): Promise<WireguardDevice>;
  /** @throws {Error} If the device isn't there or refuses it. */
  configure(device: string, change: WireguardDeviceChange): Promise<void>;
  /** Carries out changes, each for itself. @returns Those that failed. */
  apply(device: string, changes: readonly PeerChange[]): Promise<PeerFailure[]>;
}

/** `192.0.2.1:51820`, `[2001:db8::1]:51820`. */
export function formatEndpoint({ ip, port }: Endpoint): string {
  const text = formatIp(ip);
  return text.includes(":") ? `[${text}]:${port}` : `${text}:${port}`;
}

/**
 * The keepalive interval that comes before the wanted one in a greeting: one of both switches keepalives on, upon which
 * WireGuard sends one at once, and needs a session for it.
 */
export function greetingKeepalive({ keepalive }: WireguardPeer): number {
  return keepalive === 0 ? 1 : 0;
}
