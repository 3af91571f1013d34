/**
 * Makes WireGuard devices: in the kernel, or by starting a program that carries one.
 *
 * @module
 */
import { createLink, findLink } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link } from "../netlink/types.ts";
import type { Log } from "../observe/types.ts";
import type { DesiredWireguard } from "./desired_link.ts";

/** Ensures that the device is there. @throws {NetlinkError} @throws {Error} If the program doesn't make it. */
export function ensureWireguard(
  { name, mtu, implementation }: DesiredWireguard,
  existing: Link | undefined,
  { socket, log }: { readonly socket: NetlinkSocket; readonly log: Log },
): { link: Link; created: boolean } {
  if (existing) return { link: existing, created: false };
  if (implementation.kind === "kernel") {
    return { link: createLink(socket, { name, kind: "wireguard", mtu }), created: true };
  }
  const { program, args } = implementation;
  startProgram(program, [...args, name]);
  const link = findLink(socket, name);
  if (!link) throw new Error(`${program} ended well and made no device ${name}`);
  log.info(`Started ${program} for the device ${name}`);
  return { link, created: true };
}

/**
 * The program goes into the background when the device is there. It leads a session of its own, so that neither the
 * terminal's signals nor our end reach it: packets pass on while no daemon runs.
 */
function startProgram(program: string, args: readonly string[]): void {
  const { code, stderr } = new Deno.Command(program, {
    args: [...args],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    detached: true,
  }).outputSync();
  if (code === 0) return;
  const said = new TextDecoder().decode(stderr).trim().split("\n").filter((line) => !/^[│┌└ ]/u.test(line))
    .at(-1);
  throw new Error(`${program} ${args.join(" ")} ended with status ${code}: ${said || "no output"}`);
}
