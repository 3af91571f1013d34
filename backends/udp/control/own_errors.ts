/**
 * Local senders learn of packets that can't be forwarded.
 *
 * @module
 */
import { messageOf } from "../../../lib/errors.ts";
import { writeKernelFile } from "../../../lib/ffi/kernel_file.ts";
import type { ProblemReporter } from "../../../lib/observe/types.ts";

/** The key under which `status` shows what is wrong with ICMP errors. */
const PROBLEM = "udp icmp";

/**
 * Has the kernel take IPv4 packets from its own address out of the TUN. ICMP errors come from this host's address in
 * the tunnel, which counts as forged (a martian) otherwise. Nobody else gets such a packet in: the source check stands
 * before it. IPv6 knows no such rule.
 */
export function acceptOwnErrors(device: string, problems: ProblemReporter): void {
  try {
    writeKernelFile(`/proc/sys/net/ipv4/conf/${device}/accept_local`, "1");
    problems.clear(PROBLEM);
  } catch (error) {
    const reason = messageOf(error);
    problems.set(
      PROBLEM,
      `cannot set accept_local of ${device}, local senders get no ICMP errors: ${reason}`,
    );
  }
}
