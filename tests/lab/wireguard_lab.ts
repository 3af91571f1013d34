/**
 * Hosts whose WireGuard runs in user space: each sees a /var/run/wireguard and a key file of its own, as real hosts do.
 *
 * @module
 */
import type { Container } from "../../scripts/lab/container.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { ownSockets, ownWireguard } from "../../scripts/lab/own_wireguard.ts";
import { generatePrivateKey, publicKeyOf } from "../../lib/wireguard/keys.ts";

/** Whether this machine has wireguard-go. */
export function hasWireguardGo(): boolean {
  return ["/usr/bin", "/usr/local/bin", "/usr/sbin"].some((folder) => {
    try {
      return Deno.statSync(`${folder}/wireguard-go`).isFile;
    } catch {
      return false;
    }
  });
}

/** A folder of the host's own in the place of each of these, in the program's eyes and its children's. */
export function ownFolders(host: Host, folders: readonly string[]): string[] {
  const script = folders.map((folder, index) =>
    `mkdir -p "$0/${index}" "${folder}" && mount --bind "$0/${index}" "${folder}" && `
  ).join("");
  return ["unshare", "--mount", "--propagation", "private", "sh", "-c", `${script}exec "$@"`, host.folder];
}

/** Starts all daemons at the same moment, and waits until they are ready. */
export async function startWireguard(lab: Lab): Promise<void> {
  for (const host of lab.hosts) host.start(ownWireguard(host));
  await Promise.all(lab.hosts.map((host) => host.waitReady()));
}

/** As {@link startWireguard}, with a container on each host, and waits until all of them answer. @returns The containers. */
export async function startConnected(lab: Lab): Promise<readonly Container[]> {
  await startWireguard(lab);
  const containers = await lab.connect();
  await lab.pingAll(10_000);
  return containers;
}

/** What `wg` prints on a host. */
export async function wg(host: Host, ...words: string[]): Promise<string> {
  const { stdout } = await host.exec([...ownSockets(host), "wg", ...words]);
  return stdout;
}

/** A peer as `wg show NAME dump` prints it. */
export interface DumpedPeer {
  readonly key: string;
  readonly presharedKey: string;
  readonly endpoint: string;
  readonly allowedIps: string;
  readonly keepalive: string;
}

/** The peers of a device. */
export async function dumpPeers(host: Host, device = "flannel-wg"): Promise<DumpedPeer[]> {
  const lines = (await wg(host, "show", device, "dump")).trim().split("\n").slice(1);
  return lines.map((line) => {
    const [key, presharedKey, endpoint, allowedIps, , , , keepalive] = line.split("\t") as [
      ...[string, string, string, string],
      ...[string, string, string, string],
    ];
    return { key, presharedKey, endpoint, allowedIps, keepalive };
  });
}

/** A new key. */
export function newKey(): { privateKey: string; publicKey: string } {
  const privateKey = generatePrivateKey();
  return { privateKey, publicKey: publicKeyOf(privateKey) };
}

/** The processes of wireguard-go that run on a host. */
export async function programs(host: Host): Promise<number[]> {
  const { stdout } = await host.exec(["ip", "netns", "pids", host.name]);
  const pids = stdout.split("\n").filter(Boolean).map(Number);
  return pids.filter((pid) => {
    try {
      return Deno.readTextFileSync(`/proc/${pid}/comm`).trim() === "wireguard-go";
    } catch {
      return false; // ended meanwhile
    }
  });
}

/** What `flanneld status -json` prints. */
export async function statusOf(host: Host): Promise<Record<string, unknown>> {
  const command = [...flanneldCommand(), "status", "-json", `-subnet-file=${host.subnetFile}`];
  return JSON.parse((await host.exec(command, { mayFail: true })).stdout);
}

/** The value of a lease of a peer that isn't there. */
export function wireguardValue(publicIp: string, publicKey: string, port?: number): string {
  const BackendData = { PublicKey: publicKey, ...port === undefined ? {} : { Port: port } };
  return JSON.stringify({ PublicIP: publicIp, PublicIPv6: null, BackendType: "wireguard", BackendData });
}
