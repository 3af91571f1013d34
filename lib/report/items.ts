/**
 * What a report collects: one function an item.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { CHECKS } from "../doctor/checks.ts";
import { examine } from "../doctor/examine.ts";
import { findingsJson, formatFindings } from "../doctor/report_text.ts";
import type { Scene } from "../doctor/scene.ts";
import { readStatus } from "../daemon/status_client.ts";
import { statusSocketPath } from "../daemon/status_server.ts";
import { leaseFilePath } from "../daemon/lease_file.ts";
import { NOT_EXECUTABLE, NOT_FOUND } from "../firewall/command.ts";
import type { StoredLease } from "../leases/types.ts";
import { VERSION_TEXT } from "../version.ts";
import { kernelTables } from "./kernel_tables.ts";
import { settings } from "./settings.ts";

/** A file of the report. */
export interface ReportItem {
  readonly name: string;
  /** What it is, for the list of contents. */
  readonly what: string;
  /** Makes its text. @throws {Error} If that can't be had; the message says why. */
  collect(scene: Scene): Promise<string> | string;
}

/** How many lines of the log. */
const LOG_LINES = 2_000;

const UNIT_FILES = [
  "/etc/systemd/system/flanneld.service",
  "/lib/systemd/system/flanneld.service",
  "/usr/lib/systemd/system/flanneld.service",
  "/usr/local/lib/systemd/system/flanneld.service",
];

const OPTION_FILES = ["/etc/default/flanneld", "/etc/sysconfig/flanneld"];

const CNI_FOLDER = "/etc/cni/net.d";

/** An item that is the output of a program. */
function program(name: string, what: string, ...command: readonly [string, ...string[]]): ReportItem {
  const [file, ...args] = command;
  return { name, what, collect: (scene) => runProgram(scene, file, args) };
}

async function runProgram(scene: Scene, file: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await scene.run(file, args);
  if (code === NOT_FOUND) throw new Error(`${file} isn't installed`);
  if (code === NOT_EXECUTABLE) throw new Error(`${file} can't be run: ${stderr.trim()}`);
  if (code !== 0 && stdout === "") throw new Error(`${file} ended with status ${code}: ${stderr.trim()}`);
  return `# ${[file, ...args].join(" ")}\n${stdout}${stderr === "" ? "" : `\n# stderr:\n${stderr}`}`;
}

/** Everything that a report holds, in the order of its list of contents. */
export const ITEMS: readonly ReportItem[] = [
  {
    name: "flanneld/status.json",
    what: "flanneld status -json, with every peer",
    collect: async ({ options }) =>
      JSON.stringify(await readStatus(statusSocketPath(options), "all"), null, 2),
  },
  {
    name: "flanneld/doctor.txt",
    what: "flanneld doctor",
    collect: async (scene) => formatFindings(await results(scene), { width: 120, colour: false }),
  },
  {
    name: "flanneld/doctor.json",
    what: "flanneld doctor -json",
    collect: async (scene) => JSON.stringify(findingsJson(await results(scene), VERSION_TEXT), null, 2),
  },
  {
    name: "flanneld/config.json",
    what: "the network config with every default",
    collect: async (scene) => JSON.stringify((await scene.network()).complete, null, 2),
  },
  {
    name: "flanneld/leases.json",
    what: "every lease as it stands in the store; with Kubernetes the peers that the daemon knows",
    collect: leases,
  },
  { name: "flanneld/options.txt", what: "FLANNELD_ variables and files of options", collect: givenOptions },
  {
    name: "flanneld/subnet.txt",
    what: "the subnet file, the lease file and what else stands beside them",
    collect: subnetFiles,
  },
  { name: "flanneld/unit.txt", what: "the systemd unit with its drop-ins", collect: unit },
  { name: "flanneld/log.txt", what: `the last ${LOG_LINES} lines of the log`, collect: log },
  {
    name: "network/kernel.json",
    what: "links, addresses, routes, neighbours, fdb: netlink",
    collect: kernelTables,
  },
  program("network/links.txt", "links with counters", "ip", "-details", "-statistics", "link", "show"),
  program("network/addresses.txt", "addresses", "ip", "address", "show"),
  program("network/rules.txt", "policy routing", "ip", "rule", "show"),
  program("network/routes.txt", "IPv4 routes of every table", "ip", "-4", "route", "show", "table", "all"),
  program("network/routes6.txt", "IPv6 routes of every table", "ip", "-6", "route", "show", "table", "all"),
  program("network/neighbours.txt", "neighbours with counters", "ip", "-statistics", "neighbour", "show"),
  program("network/nexthops.txt", "next hops", "ip", "nexthop", "show"),
  program("network/fdb.txt", "forwarding database", "bridge", "-statistics", "fdb", "show"),
  program("firewall/nft.txt", "nft list ruleset", "nft", "list", "ruleset"),
  ...["iptables", "ip6tables"].flatMap((base) =>
    ["-nft", "-legacy"].map((variant) =>
      program(`firewall/${base}${variant}.txt`, "rules with counters", `${base}${variant}-save`, "-c")
    )
  ),
  { name: "host/settings.txt", what: "settings of the kernel that matter", collect: settings },
  { name: "host/versions.txt", what: "kernel, system, programs", collect: versions },
  { name: "host/cni.txt", what: `the files of ${CNI_FOLDER}`, collect: () => folder(CNI_FOLDER) },
];

const cachedResults = new WeakMap<Scene, ReturnType<typeof examine>>();

/** Both forms of the same findings. */
function results(scene: Scene): ReturnType<typeof examine> {
  const running = cachedResults.get(scene) ?? examine(CHECKS, scene);
  cachedResults.set(scene, running);
  return running;
}

async function leases(scene: Scene): Promise<string> {
  if (scene.options.kubeSubnetMgr) {
    const { peers } = await readStatus(statusSocketPath(scene.options), "all");
    return JSON.stringify(peers, null, 2);
  }
  const text = ({ key, value, revision, createRevision, expires }: StoredLease) =>
    JSON.stringify({ key, value, expires, revision: `${revision}`, createRevision: `${createRevision}` });
  return `[\n${Array.from(await scene.storedLeases(), text).join(",\n")}\n]\n`;
}

async function givenOptions(): Promise<string> {
  const variables = Object.entries(Deno.env.toObject()).filter(([name]) => name.startsWith("FLANNELD_"))
    .map(([name, value]) => `${name}=${value}`);
  const files = await Promise.all(OPTION_FILES.map(fileSection));
  return ["# environment of this command", ...variables, ...files].join("\n");
}

async function subnetFiles({ options }: Scene): Promise<string> {
  const { subnetFile } = options;
  const base = subnetFile.replace(/\/[^/]*$/, "");
  const names = await listFolder(base || "/").catch((error) => [`# ${messageOf(error)}`]);
  return [
    ...await Promise.all([subnetFile, leaseFilePath(options)].map(fileSection)),
    `# ${base}`,
    ...await Promise.all(names.map(async (name) => {
      const stat = await Deno.lstat(`${base}/${name}`).catch(messageOf);
      if (typeof stat === "string") return `${name}: ${stat}`;
      return `${((stat.mode ?? 0) & 0o7777).toString(8).padStart(4, "0")} ${stat.uid}:${stat.gid} ` +
        `${stat.size} ${stat.mtime?.toISOString()} ${name}`;
    })),
  ].join("\n");
}

async function unit(scene: Scene): Promise<string> {
  const { code, stdout } = await scene.run("systemctl", ["cat", "flanneld.service"]);
  if (code === 0) return stdout;
  const files = (await Promise.all(UNIT_FILES.map(fileSection))).filter((text) =>
    !text.includes("# not there")
  );
  if (files.length > 0) return files.join("\n");
  throw new Error("there is no unit flanneld.service");
}

async function log(scene: Scene): Promise<string> {
  const args = ["--unit=flanneld", `--lines=${LOG_LINES}`, "--no-pager", "--output=short-iso-precise"];
  const { code, stdout, stderr } = await scene.run("journalctl", args);
  const lines = code === 0 ? stdout.trimEnd().split("\n").filter((line) => !line.startsWith("-- ")) : [];
  if (lines.some((line) => line !== "")) return lines.join("\n");
  const why = code === NOT_FOUND
    ? "there is no journalctl"
    : stderr.trim().replace(/\.+$/, "") || "the journal has no lines of flanneld";
  throw new Error(
    `${why}. In a container: docker logs --tail ${LOG_LINES} NAME; ` +
      `in Kubernetes: kubectl logs -n kube-flannel --tail ${LOG_LINES} POD`,
  );
}

async function versions(scene: Scene): Promise<string> {
  const asked = [["nft", "--version"], ["iptables", "--version"], ["ip", "-Version"], [
    "systemctl",
    "--version",
  ]];
  const outputs = await Promise.all(asked.map(async ([file, ...args]) => {
    const { code, stdout } = await scene.run(file!, args);
    return `${file}: ${code === 0 ? stdout.split("\n")[0] : "not there"}`;
  }));
  return [
    `flanneld: ${VERSION_TEXT}`,
    `kernel: ${scene.kernel.file("/proc/version") ?? "?"}`,
    `started with: ${scene.kernel.file("/proc/cmdline") ?? "?"}`,
    ...outputs,
    await fileSection("/etc/os-release"),
    "# /proc/modules",
    scene.kernel.file("/proc/modules") ?? "can't be read",
  ].join("\n");
}

async function folder(path: string): Promise<string> {
  const names = await listFolder(path);
  if (names.length === 0) throw new Error(`${path} is empty`);
  return (await Promise.all(names.map((name) => fileSection(`${path}/${name}`)))).join("\n");
}

/** @throws {Error} If there is no such folder, or it can't be read: the item's problem is that. */
async function listFolder(path: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new Error(`${path} isn't there`, { cause: error });
    throw new Error(`Cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** A file's text below its path, or why it isn't there. */
async function fileSection(path: string): Promise<string> {
  try {
    return `# ${path}\n${await Deno.readTextFile(path)}`;
  } catch (error) {
    return `# ${path}\n# ${error instanceof Deno.errors.NotFound ? "not there" : String(error)}`;
  }
}
