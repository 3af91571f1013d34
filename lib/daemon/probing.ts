/**
 * `-probe-interval`: the daemon probes its peers, for status and metrics. Loaded only where it is on.
 *
 * @module
 */
import { NetlinkSocket } from "../netlink/socket.ts";
import { PeerWatch } from "../probe/watch.ts";
import type { ProbeStatus } from "../status/document.ts";
import { systemClock } from "../time/clock.ts";
import type { Member } from "./member.ts";
import { hostsToAsk, memberView } from "./network_view.ts";

/** Probes until the signal fires; the results stand in the member's `probes`. */
export async function probePeers(member: Member, signal: AbortSignal): Promise<void> {
  const { options, log, metrics, problems } = member.parts;
  // Of its own: what the reconciler asks for isn't held up.
  using socket = NetlinkSocket.open();
  const watch = new PeerWatch({
    network: () => memberView(member),
    targets: () => hostsToAsk(member),
    mtu: () => member.plan.mtu,
    intervalMs: options.probeInterval * 1000,
    ...{ socket, clock: systemClock, log: log.child("probe"), metrics, problems },
  });
  member.probes = {
    resultOf: (key) => statusOf(watch, key),
    get probing() {
      return { askedSeconds: options.probeInterval, intervalSeconds: watch.roundMs / 1000 };
    },
  };
  await watch.run(signal);
}

function statusOf(watch: PeerWatch, key: string): ProbeStatus | undefined {
  const result = watch.result(key);
  if (!result) return undefined;
  const { at, rttMs, loss, underlayLoss, verdict } = result;
  return {
    at: new Date(at).toISOString(),
    rttMs: rttMs ?? null,
    ...{ loss, underlayLoss, verdict: verdict.code, severity: verdict.severity, text: verdict.text },
  };
}
