/**
 * Verdicts on peers that answer through the overlay: what else isn't well.
 *
 * @module
 */
import { facts, type Findings, type SideFindings, verdict } from "./findings.ts";
import type { Verdict } from "./types.ts";

/** From this share of lost packets on, loss is a fault and not a warning. */
const LOSS_FAULT = 0.05;
/** The overlay may take this much longer than the underlay: a factor, and milliseconds beside it. */
const SLOW_FACTOR = 3, SLOW_MS = 20;

/** Small packets pass. */
export function judgeAlive(findings: Findings): Verdict {
  return judgeMtu(findings) ?? judgeLoss(findings) ?? judgeTcp(findings) ?? judgeSlow(findings) ??
    judgeGood(findings);
}

function judgeMtu(findings: Findings): Verdict | undefined {
  const { overlay, underlay, device, publicIp } = findings;
  const [over, under] = [overlay.mtu, underlay.mtu];
  if (!over || over.mtu >= over.most) return undefined;
  const isUnderlay = under !== undefined && under.mtu < under.most;
  if (over.isBound) {
    return verdict(
      "fault",
      "mtu-black-hole",
      `MTU black hole: packets of ${over.most} bytes, which is the MTU of the overlay, vanish; small ones pass`,
      [`${over.mtu} bytes pass`],
      "flanneld probe finds the size that passes, and says which side is at fault",
    );
  }
  const evidence = [
    `overlay: ${over.mtu} bytes pass, ${over.most} (the MTU of ${device ?? "the device"}) don't`,
    ...under ? [`underlay: ${under.mtu} of ${under.most} bytes pass`] : [],
    over.reportedBy
      ? `${over.reportedBy} reports "fragmentation needed"`
      : 'nobody reports "fragmentation needed"',
  ];
  const cause = isUnderlay
    ? `the path to ${publicIp} takes ${under.mtu} bytes, not the ${under.most} of the external interface`
    : "only the tunnel's large packets are lost: fragments are dropped, or a firewall limits their length";
  const remedy = `set Backend.MTU to ${
    isUnderlay ? `${under.mtu} or less` : `what passes`
  } (flanneld config set), or raise the MTU along the path to ${publicIp}`;
  return over.blackHole
    ? verdict(
      "fault",
      "mtu-black-hole",
      `MTU black hole: packets over ${over.mtu} bytes vanish without an ICMP error; ${cause}`,
      evidence,
      remedy,
    )
    : verdict(
      "fault",
      "mtu-too-large",
      `The MTU of ${device ?? "the device"} is too large: ${cause}`,
      evidence,
      remedy,
    );
}

function lossOf({ sent, received }: SideFindings): number {
  return sent === 0 ? 0 : 1 - received / sent;
}

function judgeLoss(findings: Findings): Verdict | undefined {
  const [over, under] = [lossOf(findings.overlay), lossOf(findings.underlay)];
  if (over === 0) return undefined;
  const severity = over >= LOSS_FAULT ? "fault" : "warning";
  const share = `${Math.round(over * 100)} %`;
  const evidence = facts(findings);
  if (under > 0 && findings.underlay.received > 0) {
    return verdict(
      severity,
      "underlay-loss",
      `The underlay loses packets, and the overlay with it (${share})`,
      evidence,
      `look at the wires and switches to ${findings.publicIp}: ip -s link show ${
        findings.externalDevice ?? ""
      }; mtr ${findings.publicIp}`,
    );
  }
  return verdict(
    severity,
    "overlay-loss",
    `Only the overlay loses packets (${share}): ${findings.carrier ?? "the peer"} is limited or filtered, ` +
      `or a host is overloaded`,
    evidence,
    `ip -s link show ${
      findings.device ?? ""
    }; nstat -az | grep -iE 'drop|err'; the same on ${findings.publicIp}`,
  );
}

function judgeTcp({ tcp, device, path }: Findings): Verdict | undefined {
  if (tcp !== "silent") return undefined;
  const isVxlan = path === "vxlan";
  return verdict(
    "warning",
    "tcp-silent",
    "Echo requests pass, TCP gets no answer: the peer's firewall drops TCP" +
      (isVxlan ? ", or a network card spoils checksums (checksum offload)" : ""),
    ["a TCP connection to a closed port of the peer's overlay address is neither refused nor answered"],
    isVxlan
      ? `ethtool -K ${
        device ?? "flannel.1"
      } tx-checksum-ip-generic off; if that helps: "TxChecksumOffload": "off"`
      : "on the peer: nft list ruleset | grep -B3 -A20 'hook input'",
  );
}

function judgeSlow({ overlay, underlay, device }: Findings): Verdict | undefined {
  if (overlay.p50 === undefined || underlay.p50 === undefined) return undefined;
  if (overlay.p50 < underlay.p50 * SLOW_FACTOR || overlay.p50 < underlay.p50 + SLOW_MS) return undefined;
  return verdict(
    "warning",
    "overlay-slow",
    "The overlay takes much longer than the underlay: a host is overloaded, or its packets take another way",
    [`overlay ${overlay.p50.toFixed(1)} ms, underlay ${underlay.p50.toFixed(1)} ms`],
    `tc -s qdisc show dev ${device ?? "flannel.1"}; uptime on both hosts`,
  );
}

function judgeGood(findings: Findings): Verdict {
  const { underlay, kernel } = findings;
  if (kernel) {
    return verdict(
      "warning",
      kernel.code,
      `The peer answers, but not by way of flannel's entries: ${kernel.text}`,
      facts(findings),
      kernel.remedy,
    );
  }
  if (underlay.sent > 0 && underlay.received === 0) {
    return verdict("ok", "ok-underlay-silent", "Well; the peer's public address answers no echo requests", [
      ...facts(findings),
    ]);
  }
  return verdict("ok", "ok", "Well", []);
}
