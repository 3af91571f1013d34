/**
 * Where WireGuard runs on this host: in the kernel, or in a program.
 *
 * @module
 */
import { openGenericSocket } from "../../lib/netlink/generic.ts";
import type { NetlinkSocket } from "../../lib/netlink/socket.ts";
import type { WireguardImplementation } from "../../lib/kernel/desired_link.ts";
import { openKernelWireguard } from "../../lib/wireguard/kernel.ts";
import type { WireguardControl } from "../../lib/wireguard/types.ts";
import { UserspaceWireguard } from "../../lib/wireguard/uapi.ts";
import type { WireguardOptions } from "./options.ts";

/** boringtun gives up root by itself, and writes its log to a file in /tmp, unless it is asked not to. */
const BORINGTUN = ["--disable-drop-privileges", "--log=/dev/null"];

/** Programs that carry a device, with the arguments that come before its name; the first that is there is taken. */
const PROGRAMS: readonly { readonly name: string; readonly args: readonly string[] }[] = [
  { name: "wireguard-go", args: [] },
  { name: "boringtun-cli", args: BORINGTUN },
  { name: "boringtun", args: BORINGTUN },
];

/** An implementation that is there, and how it is spoken to. */
export interface FoundImplementation {
  readonly implementation: WireguardImplementation;
  readonly control: WireguardControl;
  /** Open for as long as {@link control} is used. */
  readonly socket?: NetlinkSocket;
}

/** Finds the implementation that the config asks for. @throws {Error} That names the module and the package. */
export function findImplementation(
  asked: WireguardOptions["implementation"],
  path: string,
): FoundImplementation {
  const kernel = asked === "userspace" ? undefined : openKernel();
  if (kernel) return kernel;
  const program = asked === "kernel" ? undefined : findProgram(path);
  if (program) {
    return { implementation: { kind: "userspace", ...program }, control: new UserspaceWireguard() };
  }
  const module = "the kernel's module wireguard (Linux 5.6, or Debian's package wireguard-dkms)";
  const program_ = "the program wireguard-go (Debian's package wireguard-go) or boringtun";
  const missing = {
    auto: `neither ${module} is there, nor ${program_} in PATH`,
    kernel: `${module} is not there`,
    userspace: `${program_} is not in PATH`,
  };
  throw new Error(`The wireguard backend can't work: ${missing[asked]}`);
}

function openKernel(): FoundImplementation | undefined {
  const socket = openGenericSocket();
  const control = openKernelWireguard(socket);
  if (control) return { implementation: { kind: "kernel" }, control, socket };
  socket[Symbol.dispose]();
  return undefined;
}

/** The first program in the folders of `path` that may be executed. */
function findProgram(path: string): { program: string; args: readonly string[] } | undefined {
  for (const { name, args } of PROGRAMS) {
    for (const folder of path.split(":").filter(Boolean)) {
      const program = `${folder}/${name}`;
      try {
        const { isFile, mode } = Deno.statSync(program);
        if (isFile && ((mode ?? 0) & 0o111) !== 0) return { program, args };
      } catch {
        continue; // not there, or not for us to see
      }
    }
  }
  return undefined;
}
