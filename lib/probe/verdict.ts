/**
 * What the difference between overlay and underlay means. Pure: findings in, a verdict out.
 *
 * The order of the rules is the order in which one fault hides another: what the kernel lacks comes before what the
 * network loses, an underlay that is down before an overlay that is.
 *
 * @module
 */
import type { IcmpReason } from "./icmp.ts";
import type { Severity, Verdict } from "./types.ts";

/** What echo requests over one side found. */
export interface SideFindings {
  readonly sent: number;
  readonly received: number;
  /** Median round trip in milliseconds; absent where nothing was answered. */
  readonly p50?: number;
  /** The errno's name of a request that didn't leave. */
  readonly unsent?: string;
  /** An ICMP error that came instead of an answer. */
  readonly error?: { readonly reason: IcmpReason; readonly from: string };
  readonly mtu?: {
    readonly mtu: number;
    readonly most: number;
    readonly blackHole: boolean;
    /** Nothing between `mtu` and `most` was tried. */
    readonly isBound?: true;
    /** The router that reported a smaller MTU. */
    readonly reportedBy?: string;
  };
}

/** What the tunnel's outer packets did while the peer was asked again. */
export interface OuterFindings {
  /** Seen leaving this host on its external interface. */
  readonly sent: number;
  /** Seen coming in from the peer. */
  readonly received: number;
  /** Among those the answers to what was asked, before this host's firewall sees them. */
  readonly answers: number;
  /** An ICMP error about an outer packet. */
  readonly error?: { readonly reason: IcmpReason; readonly from: string };
}

/** Everything that is known of a peer in one family. */
export interface Findings {
  readonly publicIp: string;
  /** As FamilyView.path. */
  readonly path: string;
  /** What carries the tunnel, in words: `UDP port 8472`, `IP protocol 4`; absent where packets go without one. */
  readonly carrier?: string;
  /** The device that the overlay's packets go to. */
  readonly device?: string;
  readonly externalDevice?: string;
  readonly overlay: SideFindings;
  readonly underlay: SideFindings;
  readonly kernel?: { readonly code: string; readonly text: string; readonly remedy: string };
  /** Whether the next hop to the public address answers ARP or ND. */
  readonly nextHop?: { readonly address: string; readonly resolved: boolean };
  readonly outer?: OuterFindings;
  /** Seconds since WireGuard's last handshake; null: there was none. */
  readonly handshakeAge?: number | null;
  /** Whether a TCP connection to a closed port of the peer was refused, as it is to be. */
  readonly tcp?: "answered" | "silent";
  /** Why nothing in the peer's subnet need answer: no device of flannel's has an address there. */
  readonly mayBeSilent?: boolean;
  /** The peer itself answered a packet that it couldn't deliver: the way there and back works. */
  readonly answeredByHost?: boolean;
}

/** From this share of lost packets on, loss is a fault and not a warning. */
const LOSS_FAULT = 0.05;
/** The overlay may take this much longer than the underlay: a factor, and milliseconds beside it. */
const SLOW_FACTOR = 3, SLOW_MS = 20;
/** WireGuard makes a new handshake every 120 s while there is traffic, and gives a session up after 180. */
const HANDSHAKE_LIMIT_S = 180;

/** The verdict on one peer in one family. */
export function judge(findings: Findings): Verdict {
  const { overlay, underlay } = findings;
  if (overlay.received > 0) return judgeAlive(findings);
  if (findings.kernel) return judgeKernel(findings, findings.kernel);
  if (findings.answeredByHost || findings.tcp === "answered") return judgeSilent(findings);
  if (overlay.sent === 0) {
    return verdict(
      "unknown",
      "not-measured",
      "No address of the peer's subnet is known that could answer",
      [],
    );
  }
  return underlay.received === 0 && !(findings.outer?.received ?? 0)
    ? judgeUnderlay(findings)
    : judgeOverlay(findings);
}

function verdict(
  severity: Severity,
  code: string,
  text: string,
  evidence: readonly string[],
  remedy?: string,
): Verdict {
  return { severity, code, text, evidence, ...remedy === undefined ? {} : { remedy } };
}

function counted({ received, sent }: SideFindings): string {
  return `${received} of ${sent}`;
}

function facts({ overlay, underlay }: Findings): string[] {
  return [`overlay: ${counted(overlay)} answered`, `underlay: ${counted(underlay)} answered`];
}

function judgeKernel(findings: Findings, kernel: NonNullable<Findings["kernel"]>): Verdict {
  return verdict(
    "fault",
    kernel.code,
    `This host's kernel has no way to the peer: ${kernel.text}`,
    facts(findings),
    kernel.remedy,
  );
}

/** Something else than an echo reply comes back: the way there and back works. */
function judgeSilent(findings: Findings): Verdict {
  if (!findings.mayBeSilent) {
    return verdict(
      "warning",
      "icmp-filtered",
      "The way to the peer and back works, but the peer's firewall (INPUT) drops echo requests",
      [
        ...facts(findings),
        findings.tcp === "answered" ? "TCP is answered" : "the peer reports an expired hop limit",
      ],
      `on ${findings.publicIp}: nft list ruleset | grep -B3 -A20 'hook input'`,
    );
  }
  return verdict(
    "ok",
    "ok-no-bridge",
    "The peer's host answers for its subnet; no container bridge there answers echo requests",
    facts(findings),
  );
}

/** Neither side answers. */
function judgeUnderlay(findings: Findings): Verdict {
  const { underlay, publicIp, nextHop, externalDevice = "the external interface" } = findings;
  const evidence = facts(findings);
  if (underlay.unsent === "ENETUNREACH" || underlay.unsent === "EHOSTUNREACH") {
    return verdict(
      "fault",
      "underlay-no-route",
      `This host has no route to the peer's public address ${publicIp}`,
      [...evidence, `sending fails with ${underlay.unsent}`],
      `ip route get ${publicIp}`,
    );
  }
  if (underlay.unsent === "EPERM") return outputFirewall(findings);
  if (underlay.error) {
    const { reason, from } = underlay.error;
    return verdict(
      "fault",
      reason === "prohibited" ? "underlay-rejected" : "underlay-unreachable",
      `${from} answers in the place of ${publicIp}: ${reason}`,
      evidence,
      `traceroute -I ${publicIp}`,
    );
  }
  if (nextHop && !nextHop.resolved) {
    const isPeer = nextHop.address === publicIp;
    return verdict(
      "fault",
      "underlay-down",
      `Underlay down: ${nextHop.address} answers no ARP or ND on ${externalDevice}; ` +
        (isPeer
          ? "the peer's host is off, cut off, or has another address"
          : "the router to the peer is off or cut off"),
      [...evidence, `the neighbour entry of ${nextHop.address} is unresolved`],
      `ip neigh get ${nextHop.address} dev ${externalDevice}; look at the host and its wire`,
    );
  }
  const at = nextHop ? [`the next hop ${nextHop.address} is resolved`] : [];
  return verdict(
    "fault",
    "underlay-down",
    `Underlay down: nothing comes back from ${publicIp}; the host is off, or a firewall drops all of its packets`,
    [...evidence, ...at, ...outerFacts(findings)],
    `traceroute -I ${publicIp}; on the peer: systemctl status flanneld`,
  );
}

function outputFirewall({ device = "the overlay", overlay, underlay }: Findings): Verdict {
  return verdict(
    "fault",
    "output-firewall",
    `This host's own firewall drops what it sends to ${device}`,
    [`sending fails with ${overlay.unsent ?? underlay.unsent}`],
    "nft list ruleset | grep -B3 -A20 'hook output'",
  );
}

function outerFacts({ outer, carrier = "tunnel", externalDevice = "the external interface" }: Findings) {
  if (!outer) return [];
  return [
    `${outer.sent} ${carrier} packets left over ${externalDevice}, ${outer.received} came from the peer` +
    (outer.received > 0 ? `, ${outer.answers} of them answers` : ""),
  ];
}

/** The underlay answers, or tunnel packets arrive: what fails is the overlay. */
function judgeOverlay(findings: Findings): Verdict {
  const { overlay, outer } = findings;
  if (overlay.unsent === "EPERM") return outputFirewall(findings);
  const evidence = [...facts(findings), ...outerFacts(findings)];
  if (overlay.unsent !== undefined) {
    return verdict(
      "fault",
      "not-sent",
      `This host can't send to the peer's subnet: ${overlay.unsent}`,
      evidence,
      "flanneld status; flanneld doctor",
    );
  }
  const refused = overlay.error ?? outer?.error;
  if (refused) return judgeRefusal(findings, refused, evidence);
  // An encrypted tunnel keeps to itself what it carries, and sends handshakes when it likes.
  if (outer && findings.path !== "wireguard") {
    const judged = judgeOuter(findings, outer, evidence);
    if (judged) return judged;
  }
  return findings.carrier === undefined
    ? judgeDirect(findings, evidence)
    : judgeTunnel(findings, findings.carrier, evidence);
}

/** Somebody says why. */
function judgeRefusal(
  findings: Findings,
  { reason, from }: { readonly reason: IcmpReason; readonly from: string },
  evidence: readonly string[],
): Verdict {
  const { carrier = "packets", publicIp, outer } = findings;
  const shown = [...evidence, `ICMP "${reason}" from ${from}`];
  const isOuter = outer?.error?.from === from && outer.error.reason === reason;
  if (isOuter && (reason === "port unreachable" || reason === "protocol unreachable")) {
    return verdict(
      "fault",
      "port-closed",
      `Nothing takes ${carrier} on ${from}: its tunnel device is down or missing, or its firewall rejects the port`,
      shown,
      `on ${publicIp}: flanneld status; ip -d link show; journalctl -u flanneld`,
    );
  }
  if (reason === "prohibited" || reason === "port unreachable") {
    return verdict(
      "fault",
      isOuter ? "port-rejected" : "rejected",
      `A firewall at ${from} rejects ${isOuter ? carrier : "packets to the peer's subnet"}`,
      shown,
      `on ${from}: nft list ruleset | grep -iE 'reject|policy drop'`,
    );
  }
  return verdict(
    "fault",
    "unreachable",
    `${from} can't deliver packets to the peer's subnet: ${reason}`,
    shown,
    `on ${from}: ip route; flanneld status`,
  );
}

/** What the external interface shows. */
function judgeOuter(
  findings: Findings,
  outer: OuterFindings,
  evidence: readonly string[],
): Verdict | undefined {
  const { carrier = "tunnel", publicIp, device = "the tunnel device", externalDevice } = findings;
  if (outer.sent === 0) {
    return verdict(
      "fault",
      "not-sent",
      `No ${carrier} packet leaves this host: its firewall drops them, or ${device} does`,
      evidence,
      `ip -s link show ${device}; nft list ruleset | grep -B3 -A20 'hook output'`,
    );
  }
  if (outer.answers > 0) {
    return verdict(
      "fault",
      "input-firewall",
      `The peer's answers reach ${externalDevice ?? "this host"}, and this host drops them: ` +
        `its firewall (INPUT) or rp_filter, or packets with bad checksums`,
      evidence,
      `nft list ruleset | grep -B3 -A20 'hook input'; nstat -az UdpInCsumErrors TcpExtIPReversePathFilter`,
    );
  }
  if (outer.received > 0) {
    return verdict(
      "fault",
      "one-way",
      `One way: ${carrier} packets of the peer arrive here, and what this host sends gets no answer: ` +
        `the way to the peer drops ${carrier}, or the peer's firewall (INPUT) does`,
      evidence,
      `on ${publicIp}: flanneld probe; nft list ruleset | grep -B3 -A20 'hook input'`,
    );
  }
  return undefined;
}

function judgeTunnel(findings: Findings, carrier: string, evidence: readonly string[]): Verdict {
  const { publicIp, handshakeAge } = findings;
  const worked = typeof handshakeAge === "number" && handshakeAge < HANDSHAKE_LIMIT_S;
  const keys = handshakeAge === undefined || worked ? "" : ", or the keys don't fit";
  return verdict(
    "fault",
    "port-blocked",
    `${capital(carrier)} is blocked: ${publicIp} answers, and nothing comes back through the tunnel. ` +
      `A firewall drops ${carrier} on the way there, on the way back, or on the peer${keys}`,
    [...evidence, ...handshakeFacts(handshakeAge)],
    `allow ${carrier} from and to all hosts of the network; which way it fails shows: ` +
      `flanneld capture here and on ${publicIp}`,
  );
}

function handshakeFacts(age: Findings["handshakeAge"]): string[] {
  if (age === undefined) return [];
  return [
    age === null ? "no WireGuard handshake yet" : `last WireGuard handshake ${age} s ago: it worked then`,
  ];
}

function judgeDirect(findings: Findings, evidence: readonly string[]): Verdict {
  const { publicIp, mayBeSilent } = findings;
  if (mayBeSilent) {
    return verdict(
      "unknown",
      "no-answer",
      "Nothing in the peer's subnet answers: no container bridge is there yet, the peer doesn't forward, " +
        "or a firewall drops the packets",
      evidence,
      `on ${publicIp}: ip address; sysctl net.ipv4.ip_forward; nft list chain ip filter FORWARD`,
    );
  }
  return verdict(
    "fault",
    "overlay-down",
    `${publicIp} answers, its subnet doesn't: its firewall (INPUT, FORWARD) or a filter on the wire drops the packets`,
    evidence,
    `on ${publicIp}: flanneld doctor; nft list ruleset | grep -B3 -A20 'hook input'`,
  );
}

/** Small packets pass. */
function judgeAlive(findings: Findings): Verdict {
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

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
