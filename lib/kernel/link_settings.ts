/**
 * Settings of our devices that rtnetlink doesn't carry.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { SystemError } from "../ffi/errno.ts";
import { readKernelFile, writeKernelFile } from "../ffi/kernel_file.ts";
import { getTxChecksum, setTxChecksum } from "../netlink/ethtool.ts";
import type { ProblemReporter } from "../observe/types.ts";
import type { ChecksumOffload } from "./desired_link.ts";

/**
 * Keeps a device from taking routes and addresses from router advertisements that come through the tunnel.
 * Where the kernel has no IPv6 there is nothing to refuse.
 */
export function refuseRouterAdvertisements(name: string): void {
  const path = `/proc/sys/net/ipv6/conf/${name}/accept_ra`;
  try {
    if (readKernelFile(path).trim() !== "0") writeKernelFile(path, "0");
  } catch (error) {
    // Not there without IPv6; read-only in some containers, where the host's setting holds.
    const harmless = error instanceof SystemError &&
      ["ENOENT", "EACCES", "EPERM", "EROFS"].includes(error.code);
    if (!harmless) throw error;
  }
}

/**
 * Sets tx-checksum-ip-generic as asked. `auto` switches it off only on kernels before 5.7, whose NAT filled in
 * the checksum of outer UDP headers that have none, so that the peer dropped each first packet of a flow.
 */
export function applyTxChecksum(name: string, setting: ChecksumOffload, problems: ProblemReporter): void {
  const wanted = setting === "auto"
    ? (kernelNatBreaksChecksums(Deno.osRelease()) ? false : undefined)
    : setting === "on";
  if (wanted === undefined) return;
  const key = `checksums of ${name}`;
  try {
    if (getTxChecksum(name) !== wanted) setTxChecksum(name, wanted);
    problems.clear(key, "set");
  } catch (error) {
    const value = wanted ? "on" : "off";
    problems.set(key, `cannot set tx-checksum-ip-generic to ${value}, retrying: ${messageOf(error)}`);
  }
}

/** Whether a kernel of this release is older than 5.7 ("netfilter: nat: never update the UDP checksum when it's 0"). */
function kernelNatBreaksChecksums(release: string): boolean {
  const match = /^(\d+)\.(\d+)/.exec(release);
  if (!match) return false;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  return major < 5 || (major === 5 && minor < 7);
}
