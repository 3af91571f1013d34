/**
 * Checksum offload of tunnel devices where it is known to break packets.
 *
 * @module
 */
import type { DesiredVxlan } from "../../kernel/desired_link.ts";
import { SystemError } from "../../ffi/errno.ts";
import { getTxChecksum } from "../../netlink/ethtool.ts";
import { type Check, type Finding, ok } from "../types.ts";

/** The port that the IANA gave to VXLAN: the one that network cards look for. */
const IANA_PORT = 4789;

/** Drivers that compute wrong checksums for VXLAN on other ports than IANA's. */
const FAULTY_DRIVERS: ReadonlySet<string> = new Set(["vmxnet3"]);

interface OffloadState {
  readonly name: string;
  /** tx-checksum-ip-generic now. */
  readonly active: boolean;
  /** TxChecksumOffload of the config. */
  readonly setting: DesiredVxlan["txChecksum"];
  readonly port: number;
}

interface OffloadFacts {
  readonly devices: readonly OffloadState[];
  /** The interface to the other hosts, and its driver; undefined for virtual ones. */
  readonly external: string;
  readonly driver: string | undefined;
  /** `uname -r`. */
  readonly release: string;
}

/** Reads the offload of our VXLAN devices and the driver below them. */
export const checksumOffload: Check<OffloadFacts> = {
  name: "checksums",
  group: "underlay",
  looksAt: "checksum offload of VXLAN devices, and drivers that are known to break it",
  async read(scene) {
    const { kernel } = scene;
    const { name: external } = await scene.external();
    const { links } = await scene.plan();
    const devices = links.flatMap((link): OffloadState[] => {
      if (link.kind !== "vxlan" || !kernel.links.some(({ name }) => name === link.name)) return [];
      const active = activeOffload(link.name);
      const { name, port, txChecksum: setting } = link;
      return active === undefined ? [] : [{ name, active, setting, port: port || 8472 }];
    });
    const driver = kernel.target(`/sys/class/net/${external}/device/driver`)?.split("/").at(-1);
    return { devices, external, driver, release: kernel.sysctl("kernel.osrelease") ?? "" };
  },
  judge: ({ devices, external, driver, release }) =>
    devices.map((device) => judgeDevice(device, external, driver, release)),
};

function judgeDevice(
  { name, active, setting, port }: OffloadState,
  external: string,
  driver: string | undefined,
  release: string,
): Finding {
  const evidence = [
    `tx-checksum-ip-generic of ${name}: ${active ? "on" : "off"}`,
    `driver of ${external}: ${driver ?? "none, a virtual device"}`,
    `TxChecksumOffload: ${setting}`,
  ];
  const off = [
    // The daemon switches on again what the config asks for.
    ...(setting === "on" ? [] : [`ethtool -K ${name} tx-checksum-ip-generic off`]),
    '# for good: "TxChecksumOffload": "off" in the Backend of the network config',
  ];
  if (active && driver !== undefined && FAULTY_DRIVERS.has(driver) && port !== IANA_PORT) {
    const text = `${external} has the driver ${driver}, which breaks checksums of VXLAN on port ${port}: ` +
      "connections between containers stall, pings work";
    return { severity: "warning", text, evidence, remedy: off };
  }
  if (active && isBefore57(release)) {
    const text = `Linux ${release} breaks checksums of masqueraded packets in VXLAN (corrected in 5.7): ` +
      "connections to Services stall for 63 s";
    return { severity: "warning", text, evidence, remedy: off };
  }
  if ((setting === "on") !== active && setting !== "auto") {
    const text = `${name} has checksum offload ${active ? "on" : "off"}, the network config says ${setting}`;
    return {
      severity: "warning",
      text,
      evidence,
      remedy: [`ethtool -K ${name} tx-checksum-ip-generic ${setting}`],
    };
  }
  return ok(
    `${name} has checksum offload ${active ? "on" : "off"}, and nothing is known to break it`,
    ...evidence,
  );
}

function isBefore57(release: string): boolean {
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
  return major < 5 || (major === 5 && minor < 7);
}

function activeOffload(name: string): boolean | undefined {
  try {
    return getTxChecksum(name);
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}
