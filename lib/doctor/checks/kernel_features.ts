/**
 * Whether the kernel has what the backend's devices need.
 *
 * @module
 */
import { EOPNOTSUPP } from "../../ffi/errno.ts";
import type { DesiredLink } from "../../kernel/desired_link.ts";
import { NetlinkError } from "../../netlink/error.ts";
import { createLink, deleteLink } from "../../netlink/link.ts";
import type { KernelView } from "../kernel_view.ts";
import type { Scene } from "../scene.ts";
import { type Check, type Finding, ok } from "../types.ts";

/** Where a feature is. */
export type Presence =
  /** In the kernel, or loaded. */
  | "there"
  /** A module that the kernel loads when it is needed. */
  | "loadable"
  | "absent";

/** A device kind and whether the kernel has it. */
export interface Feature {
  /** The kernel's module. */
  readonly module: string;
  readonly presence: Presence;
}

interface Features {
  readonly features: readonly Feature[];
  /** `uname -r`. */
  readonly release: string;
  /** Whether the modules of the running kernel are installed. */
  readonly hasModules: boolean;
  /** A program that carries WireGuard in the place of the kernel. */
  readonly wireguardProgram?: string;
}

/** An MTU that no device takes: the kernel refuses it once it knows the device's kind, and makes nothing. */
const IMPOSSIBLE_MTU = 0x7fff_ffff;

/** Reads what the plan's devices need. */
export const kernelFeatures: Check<Features> = {
  name: "kernel",
  group: "kernel",
  looksAt: "whether the kernel has what the backend's devices need",
  async read(scene) {
    const { links } = await scene.plan();
    const release = scene.kernel.sysctl("kernel.osrelease") ?? "";
    const modules = [...new Set(links.flatMap(moduleOf))];
    const program = links.flatMap(programOf)[0];
    const features: Feature[] = [];
    for (const module of modules) {
      features.push({ module, presence: await presenceOf(module, release, scene) });
    }
    return {
      ...{
        features,
        release,
        hasModules: await scene.files.text(`/lib/modules/${release}/modules.dep`) !== undefined,
      },
      ...(program === undefined ? {} : { wireguardProgram: program }),
    };
  },
  judge({ features, release, hasModules, wireguardProgram }): Finding[] {
    const findings = features.map(({ module, presence }): Finding => {
      const evidence = [`Linux ${release}`];
      if (presence === "there") return ok(`the kernel has ${module}`);
      if (presence === "loadable") return ok(`the kernel loads the module ${module} when it is needed`);
      const text = `the kernel has no ${module}, and there is no module of that name for Linux ${release}`;
      const remedy = hasModules
        ? [`modprobe ${module}`, `apt-get install linux-modules-extra-${release}   # Ubuntu, Raspberry Pi OS`]
        : [
          `modprobe ${module}   # in a container: on its host`,
          "reboot   # if the kernel was updated: the modules of the running one are gone",
        ];
      return { severity: "fault", text, evidence, remedy };
    });
    if (wireguardProgram !== undefined) {
      const text = `the kernel has no wireguard: ${wireguardProgram} carries the packets, which is slower`;
      findings.push({
        severity: "note",
        text,
        remedy: ["modprobe wireguard   # Linux 5.6 and later have it"],
      });
    }
    return findings;
  },
};

function moduleOf(link: DesiredLink): string[] {
  if (link.kind !== "wireguard") return [link.kind];
  return [link.implementation.kind === "kernel" ? "wireguard" : "tun"];
}

function programOf(link: DesiredLink): string[] {
  return link.kind === "wireguard" && link.implementation.kind === "userspace"
    ? [link.implementation.program]
    : [];
}

async function presenceOf(module: string, release: string, { kernel, files }: Scene): Promise<Presence> {
  if (kernel.folder(`/sys/module/${module}`).length > 0) return "there";
  // The TUN driver is a character device too, and that is all that is asked of it.
  if (module === "tun" && kernel.folder("/dev/net").includes("tun")) return "there";
  const builtin = await files.text(`/lib/modules/${release}/modules.builtin`);
  if (builtin !== undefined) {
    if (hasModule(builtin, module)) return "there";
    const modules = await files.text(`/lib/modules/${release}/modules.dep`) ?? "";
    return hasModule(modules, module) ? "loadable" : "absent";
  }
  // No module can be loaded, and so none is by asking.
  return module !== "tun" && isKindKnown(module, kernel) ? "there" : "absent";
}

/** Whether a list of depmod(8) has the module. */
export function hasModule(list: string, module: string): boolean {
  return new RegExp(`^\\S*/${module}\\.ko(\\.\\w+)?(:|$)`, "m").test(list);
}

/** Asks the kernel for a device that it must refuse: for its MTU, or because it doesn't know the kind. */
function isKindKnown(kind: string, { socket }: KernelView): boolean {
  const name = `probe${crypto.randomUUID().slice(0, 8)}`;
  try {
    const { index } = createLink(socket, { name, kind: kind as "vxlan", mtu: IMPOSSIBLE_MTU });
    deleteLink(socket, index);
    return true;
  } catch (error) {
    return error instanceof NetlinkError && error.errno !== EOPNOTSUPP;
  }
}
