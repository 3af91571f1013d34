/**
 * How the built program runs: what it may do, and what it may not. The same for both kinds of executable.
 *
 * @module
 */

/**
 * Programs that it calls, by name: nft, iptables in all of its forms, those that carry WireGuard devices, and what
 * `flanneld report` reads the host with.
 */
const PROGRAMS: readonly string[] = [
  ...["ip", "bridge", "journalctl", "systemctl"],
  "nft",
  ...["wireguard-go", "boringtun-cli", "boringtun"],
  ...["iptables", "ip6tables"].flatMap((family) =>
    ["", "-nft", "-legacy"].flatMap((backend) =>
      ["", "-save", "-restore"].map((action) => family + backend + action)
    )
  ),
];

/** What Deno may report of the host. */
const SYSTEM = [
  "hostname",
  "homedir",
  "networkInterfaces",
  "osRelease",
  "uid",
  "gid",
  "cpus",
  "systemMemoryInfo",
] as const;

/**
 * The daemon's permissions. Not all: no other program than the firewall's, no code from elsewhere.
 *
 * Files and addresses aren't known beforehand: options name the subnet file, the store, certificates and endpoints.
 * Foreign functions (netlink, TUN) can be had as a whole only; on systemd hosts the unit's capabilities and
 * ProtectSystem draw the line that Deno can't.
 */
export const PERMISSIONS: readonly string[] = [
  "--allow-ffi",
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env",
  `--allow-run=${PROGRAMS.join(",")}`,
  `--allow-sys=${SYSTEM.join(",")}`,
  "--no-prompt",
];

/**
 * The CNI plugin's permissions: it runs the plugins that a network configuration names, in the folders that the
 * container runtime names, and needs neither network nor foreign functions.
 */
export const CNI_PERMISSIONS: readonly string[] = [
  "--allow-read",
  "--allow-write",
  "--allow-env",
  "--allow-run",
  "--no-prompt",
];

/** Options of `deno run` that keep it from looking for anything outside of the program's folder. */
export const CLOSED_WORLD: readonly string[] = [
  ...["--quiet", "--no-config", "--no-lock", "--no-remote", "--no-npm", "--cached-only"],
];

/**
 * V8's settings: a small young generation. What lives long is some 15 MB at rest, and with V8's own size another
 * 10 MB of garbage wait for a collection that a daemon at rest has no cause for. And `gc`, for `lib/observe/heap.ts`.
 */
export const V8_FLAGS = "--v8-flags=--max-semi-space-size=1,--expose-gc";
