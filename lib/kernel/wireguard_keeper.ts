/**
 * Makes WireGuard devices: in the kernel, or by starting a program that carries one.
 *
 * @module
 */
import { keepDescriptorsBack } from "../ffi/fd.ts";
import { createLink, findLink } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link } from "../netlink/types.ts";
import type { Log } from "../observe/types.ts";
import { socketPath } from "../wireguard/socket_path.ts";
import type { DesiredWireguard } from "./desired_link.ts";
import { strangerError } from "./own_links.ts";

/** The variables of the daemon that a program gets: others hold what it has no use for, passwords of stores above all. */
const VARIABLES = ["PATH", "LOG_LEVEL"] as const;

/**
 * Ensures that the device is there.
 *
 * @throws {LinkConflictError} If the name is taken by a TUN that isn't WireGuard's.
 * @throws {NetlinkError} @throws {Error} If the program doesn't make it.
 */
export function ensureWireguard(
  { name, mtu, implementation }: DesiredWireguard,
  existing: Link | undefined,
  { socket, log }: { readonly socket: NetlinkSocket; readonly log: Log },
): { link: Link; created: boolean } {
  if (existing) {
    // What the original leaves is unmarked, and it knows the kernel's devices only.
    const isForeign = implementation.kind === "userspace" && existing.alias === undefined && !hasSocket(name);
    if (isForeign) throw strangerError(existing);
    return { link: existing, created: false };
  }
  if (implementation.kind === "kernel") {
    return { link: createLink(socket, { name, kind: "wireguard", mtu }), created: true };
  }
  const { program, args } = implementation;
  startProgram(program, [...args, name]);
  const link = findLink(socket, name);
  if (!link) throw new Error(`${program} ended with status 0 but made no device ${name}`);
  log.info(`Started ${program} for the device ${name}`);
  return { link, created: true };
}

function hasSocket(device: string): boolean {
  try {
    return Deno.statSync(socketPath(device)).isSocket === true;
  } catch {
    return false;
  }
}

/**
 * The program goes into the background when the device is there. It leads a session of its own, so that neither the
 * terminal's signals nor our end reach it: packets pass on while no daemon runs. It keeps nothing of ours: no
 * descriptor (the executable's launcher holds a lock on what it unpacked), no folder that could not be unmounted.
 */
function startProgram(program: string, args: readonly string[]): void {
  keepDescriptorsBack();
  const { code, stderr } = new Deno.Command(program, {
    args: [...args],
    cwd: "/",
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    clearEnv: true,
    env: Object.fromEntries(VARIABLES.flatMap((name) => {
      const value = Deno.env.get(name);
      return value === undefined ? [] : [[name, value]];
    })),
    detached: true,
  }).outputSync();
  if (code === 0) return;
  const said = new TextDecoder().decode(stderr).trim().split("\n").filter((line) => !/^[│┌└ ]/u.test(line))
    .at(-1);
  throw new Error(`${program} ${args.join(" ")} ended with status ${code}: ${said || "no output"}`);
}
