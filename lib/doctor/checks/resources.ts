/**
 * What runs out on a busy host: room for files, descriptors, connections, neighbours.
 *
 * @module
 */
import { dirname } from "node:path";
import { type FileSystemRoom, fileSystemRoom } from "../../ffi/file_system.ts";
import { SystemError } from "../../ffi/errno.ts";
import { NUD_NOARP, NUD_PERMANENT } from "../../netlink/constants.ts";
import { listNeighbours } from "../../netlink/neighbour.ts";
import { type Family, IPV4 } from "../../net/family.ts";
import { lockPath } from "../../daemon/lock.ts";
import { formatIp } from "../../net/ip.ts";
import { containsIp, prefixOf } from "../../net/prefix.ts";
import type { KernelView } from "../kernel_view.ts";
import type { Scene } from "../scene.ts";
import { type Check, count, type Finding, ok } from "../types.ts";

/** A table that has a limit. */
export interface Usage {
  readonly what: string;
  readonly used: number;
  readonly limit: number;
  /** The setting that limits it. */
  readonly setting: string;
  /** Commands that raise it; absent for a setting of sysctl(8). */
  readonly remedy?: readonly string[];
  /** What happens when it is full. */
  readonly then: string;
}

interface ResourceFacts {
  readonly folder: string;
  readonly room: FileSystemRoom | undefined;
  readonly usages: readonly Usage[];
}

/** Less room than this for the subnet file and its temporary copy, in bytes. */
const LITTLE_ROOM = 256 * 1024;

/** Parts of a limit from which on it is worth a warning, and a fault. */
const NEAR = 0.85, FULL = 0.98;

/** Reads how full they are. */
export const resources: Check<ResourceFacts> = {
  name: "resources",
  group: "host",
  looksAt: "room below /run, descriptors, the conntrack table, the neighbour tables and the peers in them",
  async read(scene) {
    const folder = await existingFolder(dirname(scene.options.subnetFile));
    return { folder, room: roomOf(folder), usages: await readUsages(scene) };
  },
  judge({ folder, room, usages }) {
    const findings = [...judgeRoom(folder, room), ...usages.flatMap(judgeUsage)];
    if (findings.length > 0) return findings;
    const parts = usages.map(({ what, used, limit }) => `${what} ${used} of ${limit}`);
    return [ok("nothing is near its limit", ...parts)];
  },
};

function judgeRoom(folder: string, room: FileSystemRoom | undefined): Finding[] {
  if (!room) return [];
  const noFiles = room.files > 0 && room.freeFiles === 0;
  if (room.freeBytes >= LITTLE_ROOM && !noFiles) return [];
  const text = `${folder} has no room for ${noFiles ? "another file" : "the subnet file"}`;
  const evidence = [`statvfs ${folder}: ${room.freeBytes} bytes and ${room.freeFiles} files are free`];
  return [{ severity: "fault", text, evidence, remedy: [`du -xsh ${folder}/../* | sort -h | tail`] }];
}

function judgeUsage({ what, used, limit, setting, then, remedy }: Usage): Finding[] {
  if (limit <= 0 || used < limit * NEAR) return [];
  return [{
    severity: used >= limit * FULL ? "fault" : "warning",
    text: `${used} of ${limit} ${what}: ${then}`,
    evidence: [`${setting} = ${limit}`],
    remedy: remedy ?? [`sysctl -w ${setting}=${limit * 4}`],
  }];
}

async function readUsages(scene: Scene): Promise<Usage[]> {
  const { kernel } = scene;
  const usages: Usage[] = [];
  const [used, , limit] = (kernel.file("/proc/sys/fs/file-nr") ?? "").split(/\s+/).map(Number);
  if (used !== undefined && limit !== undefined && Number.isFinite(limit)) {
    const then = "no program can open another file";
    usages.push({ what: "open files", used, limit, setting: "fs.file-max", then });
  }
  usages.push(...await daemonDescriptors(scene));
  const tracked = numberOf(kernel, "net.netfilter.nf_conntrack_count");
  const most = numberOf(kernel, "net.netfilter.nf_conntrack_max");
  if (tracked !== undefined && most !== undefined) {
    const then = "packets of new connections are dropped when it is full";
    const setting = "net.netfilter.nf_conntrack_max";
    usages.push({ what: "tracked connections", used: tracked, limit: most, setting, then });
  }
  for (const family of await scene.families()) usages.push(...await neighbourUsage(scene, family));
  return usages;
}

/** The running daemon's own limit, as its unit or ulimit(1) set it. */
async function daemonDescriptors(scene: Scene): Promise<Usage[]> {
  const { kernel, options } = scene;
  // The lock's file stays when the daemon is gone, and its number may be another process's then.
  if ((await scene.daemon()).isAway) return [];
  const lock = await scene.files.text(lockPath(options)) ?? "";
  const pid = /process (\d+)/.exec(lock)?.[1];
  const limits = kernel.file(`/proc/${pid}/limits`) ?? "";
  const limit = Number(/^Max open files +(\d+)/m.exec(limits)?.[1]);
  const used = kernel.folder(`/proc/${pid}/fd`).length;
  if (pid === undefined || used === 0 || !Number.isFinite(limit)) return [];
  return [{
    ...{ what: `descriptors of the daemon (process ${pid})`, used, limit },
    setting: `/proc/${pid}/limits: Max open files`,
    then: "it cannot open connections to the store, nor sockets to the kernel, when they are used up",
    remedy: [
      `prlimit --pid ${pid} --nofile=65536`,
      "# for good: LimitNOFILE=65536 in the unit (systemctl edit flanneld)",
    ],
  }];
}

async function neighbourUsage(scene: Scene, family: Family): Promise<Usage[]> {
  const { kernel } = scene;
  const setting = `net.${family === IPV4 ? "ipv4" : "ipv6"}.neigh.default.gc_thresh3`;
  const limit = numberOf(kernel, setting);
  if (limit === undefined) return [];
  // Permanent entries, as those of peers' VTEPs are, don't count since Linux 5.0.
  const counted = new Set(
    listNeighbours(kernel.socket, { family })
      .filter(({ state }) => (state & (NUD_PERMANENT | NUD_NOARP)) === 0)
      .map(({ linkIndex, ip }) => `${linkIndex} ${formatIp(ip)}`),
  );
  const used = counted.size;
  for (const peer of await peersOnWire(scene, family)) counted.add(peer);
  const peers = counted.size - used;
  const then = "hosts and containers on the wire are not found when it is full (neighbour table overflow)";
  const what = `${family.label} neighbours`;
  if (peers === 0) return [{ what, used, limit, setting, then }];
  return [{
    what: `${what}, with ${count(peers, "peer")} on the wire`,
    used: counted.size,
    limit,
    setting,
    then,
  }];
}

/** Peers that need a neighbour entry each once packets go to them: those on the interface's own wire. */
async function peersOnWire(scene: Scene, family: Family): Promise<string[]> {
  // Without an interface to the other hosts the peers aren't known either.
  const known = await scene.peersIfKnown();
  if (known.length === 0) return [];
  const { index } = await scene.external();
  const wires = scene.kernel.addresses.filter(({ linkIndex, ip }) =>
    linkIndex === index && ip.family === family
  )
    .map(({ ip, prefixLength }) => prefixOf(ip, prefixLength));
  return known.flatMap(({ attributes }) => {
    const ip = attributes.publicIps[family.name];
    return ip && wires.some((wire) => containsIp(wire, ip)) ? [`${index} ${formatIp(ip)}`] : [];
  });
}

function numberOf(kernel: KernelView, setting: string): number | undefined {
  const text = kernel.sysctl(setting);
  return text === undefined || text === "" ? undefined : Number(text);
}

function roomOf(folder: string): FileSystemRoom | undefined {
  try {
    return fileSystemRoom(folder);
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}

/** The folder, or the nearest one above it that is there. */
async function existingFolder(folder: string): Promise<string> {
  const isThere = await Deno.stat(folder).then(() => true, () => false);
  return isThere || folder === "/" ? folder : await existingFolder(dirname(folder));
}
