/**
 * Tests of the udp backend between two hosts, in each of several networks.
 *
 * @module
 */
import { IS_ROOT } from "./lab_test_case.ts";
import { IPV4_ONLY, IPV6_ONLY, type UdpMode, UdpRig } from "./udp_rig.ts";

/** What a test is run with. */
export interface UdpTestOptions {
  /** The networks; @default IPv4 alone and IPv6 alone. */
  readonly modes?: readonly UdpMode[];
  /** MTU of the wire. @default 1500 */
  readonly mtu?: number;
}

/** Registers a test for each network. */
export function udpTest(
  name: string,
  body: (rig: UdpRig) => Promise<void>,
  { modes = [IPV4_ONLY, IPV6_ONLY], mtu = 1500 }: UdpTestOptions = {},
): void {
  for (const mode of modes) {
    Deno.test({
      name: `${mode.name}: ${name} (needs root)`,
      ignore: !IS_ROOT,
      async fn() {
        await using rig = await UdpRig.make(mode, mtu);
        await body(rig);
      },
    });
  }
}
