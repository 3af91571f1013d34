/**
 * What the difference between overlay and underlay means. Pure: findings in, a verdict out.
 *
 * The order of the rules is the order in which one fault hides another: what the kernel lacks comes before what the
 * network loses, an underlay that is down before an overlay that is.
 *
 * @module
 */
import { facts, type Findings, type OuterFindings, verdict } from "./findings.ts";
import type { IcmpReason } from "./icmp.ts";
import type { Verdict } from "./types.ts";
import { judgeAlive } from "./verdict_alive.ts";

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

/** What else may keep answers away where others than the hosts know the way, and what helps first. */
const SILENCE: Readonly<Record<string, { readonly why: string; readonly first: string }>> = {
  "cloud-route": {
    why: "the cloud has no route to it or checks source addresses, ",
    first: "on both hosts: flanneld doctor; ",
  },
  routed: { why: "alloc carries no packets, and nobody else routes them, ", first: "ip route get SUBNET; " },
};

function judgeDirect(findings: Findings, evidence: readonly string[]): Verdict {
  const { publicIp, mayBeSilent, path } = findings;
  if (mayBeSilent) {
    const { why, first } = SILENCE[path] ?? { why: "", first: "" };
    return verdict(
      "unknown",
      "no-answer",
      `Nothing in the peer's subnet answers: ${why}no container bridge is there yet, the peer doesn't forward, ` +
        "or a firewall drops the packets",
      evidence,
      `${first}on ${publicIp}: ip address; sysctl net.ipv4.ip_forward; nft list chain ip filter FORWARD`,
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

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
