/**
 * Whether the host forwards packets.
 *
 * @module
 */
import { type Family, IPV4 } from "../../net/family.ts";
import { type Check, type Finding, ok } from "../types.ts";

/** A setting and its value; undefined where it can't be read. */
interface Setting {
  readonly name: string;
  readonly value: string | undefined;
}

/** Reads the kernel's settings for the network's families. */
export const forwarding: Check<readonly Setting[]> = {
  name: "forwarding",
  group: "kernel",
  looksAt: "whether the host forwards packets",
  async read(scene) {
    return (await scene.families()).map(settingOf).map((name) => ({
      name,
      value: scene.kernel.sysctl(name),
    }));
  },
  judge: (settings) => settings.map(judgeSetting),
};

function settingOf(family: Family): string {
  return family === IPV4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding";
}

function judgeSetting({ name, value }: Setting): Finding {
  // 2 is IPv6's: forwards, and takes router advertisements too.
  if (value === "1" || value === "2") return ok(`${name} is ${value}`);
  return {
    severity: "warning",
    text: value === undefined
      ? `cannot read ${name}`
      : `${name} is ${value}: packets between containers and other hosts are dropped. ` +
        "Container runtimes switch it on; without one, do it yourself",
    remedy: [`sysctl -w ${name}=1`],
  };
}
