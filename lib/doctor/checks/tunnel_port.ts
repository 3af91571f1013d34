/**
 * Other programs on the tunnel's UDP port, and other VXLAN devices on it.
 *
 * @module
 */
import { isUdpTunnel } from "../../net/tunnel.ts";
import type { KernelView } from "../kernel_view.ts";
import { type Check, type Finding, ok } from "../types.ts";

/** A process that has a socket on one of the ports. */
export interface PortUser {
  readonly port: number;
  readonly pid: number;
  /** Its name (comm). */
  readonly program: string;
}

interface PortFacts {
  readonly ports: readonly number[];
  readonly users: readonly PortUser[];
  /** VXLAN devices of others on the port, with another VNI. */
  readonly neighbours: readonly { readonly name: string; readonly vni: number }[];
}

/** Finds out who has a socket on the port. */
export const tunnelPort: Check<PortFacts> = {
  name: "port",
  group: "network",
  looksAt: "other programs and devices on the tunnel's UDP port",
  async read(scene) {
    const { tunnel } = await scene.openedBackend();
    if (!tunnel || !isUdpTunnel(tunnel)) return { ports: [], users: [], neighbours: [] };
    const ours = new Set((await scene.plan()).links.map(({ name }) => name));
    const neighbours = scene.kernel.links.flatMap(({ name, vxlan }) =>
      vxlan && tunnel.udpPorts.includes(vxlan.port) && !ours.has(name) ? [{ name, vni: vxlan.vni }] : []
    );
    return { ports: tunnel.udpPorts, users: portUsers(tunnel.udpPorts, scene.kernel), neighbours };
  },
  judge({ ports, users, neighbours }) {
    if (ports.length === 0) return [];
    // flanneld itself, and what carries WireGuard for it.
    const strangers = users.filter(({ program }) => !/^(flanneld|deno|wireguard-go|boringtun)/.test(program));
    const findings = [
      ...strangers.map(({ port, pid, program }): Finding => ({
        severity: "fault",
        text: `process ${pid} (${program}) has UDP port ${port}: the tunnel cannot use it`,
        evidence: [`ss -lunp sport = :${port}`],
        remedy: [
          `kill ${pid}   # or stop its service`,
          '# or another port for the network, on every host: "Port" in the Backend of the network config',
        ],
      })),
      ...neighbours.map(({ name, vni }): Finding => ({
        severity: "note",
        text: `the VXLAN device ${name} (VNI ${vni}) is on the same UDP port: it is another network's`,
        evidence: [`ip -details link show ${name}`],
      })),
    ];
    if (findings.length > 0) return findings;
    return [ok(`no other program is on UDP port ${ports.join(", ")}`)];
  },
};

function portUsers(ports: readonly number[], kernel: KernelView): PortUser[] {
  const inodes = new Map<string, number>();
  for (const table of ["udp", "udp6"]) {
    for (const [inode, port] of boundSockets(kernel.file(`/proc/net/${table}`) ?? "")) {
      if (ports.includes(port)) inodes.set(inode, port);
    }
  }
  if (inodes.size === 0) return [];
  return kernel.folder("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    const ports = new Set(
      kernel.folder(`/proc/${pid}/fd`).flatMap((fd) => {
        const inode = /^socket:\[(\d+)\]$/.exec(kernel.target(`/proc/${pid}/fd/${fd}`) ?? "")?.[1];
        return inode === undefined ? [] : inodes.get(inode) ?? [];
      }),
    );
    const program = ports.size > 0 ? kernel.file(`/proc/${pid}/comm`) ?? "?" : "";
    return [...ports].map((port) => ({ port, pid: Number(pid), program }));
  });
}

/** Inode and local port of each socket in /proc/net/udp. */
export function boundSockets(table: string): [inode: string, port: number][] {
  return table.split("\n").slice(1).flatMap((line): [string, number][] => {
    const fields = line.trim().split(/\s+/);
    const port = /:([0-9A-F]{4})$/.exec(fields[1] ?? "")?.[1];
    // 0: the kernel's own, of a VXLAN or WireGuard device.
    const inode = fields[9];
    return port === undefined || inode === undefined || inode === "0" ? [] : [[inode, parseInt(port, 16)]];
  });
}
