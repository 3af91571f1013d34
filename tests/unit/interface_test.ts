import assert from "node:assert/strict";
import { FAMILIES, IPV4, IPV6, type PerFamily, perFamily } from "../../lib/net/family.ts";
import { chooseAddress } from "../../lib/external/addresses.ts";
import { chooseInterface } from "../../lib/external/choice.ts";
import { type HostNetwork, InterfaceError, type InterfaceRequest } from "../../lib/external/types.ts";
import { formatIp, type Ip, parseIp } from "../../lib/net/ip.ts";
import { prefixOf } from "../../lib/net/prefix.ts";
import type { Link, LinkAddress, Route } from "../../lib/netlink/types.ts";

const PERMANENT = 0x80, DEPRECATED = 0x20, TEMPORARY = 0x01, TENTATIVE = 0x40, DADFAILED = 0x08;

function link(index: number, name: string, more: Partial<Link> = {}): Link {
  return { index, name, flags: 1, mtu: 1500, ...more };
}

function address(linkIndex: number, text: string, flags = PERMANENT, scope = 0): LinkAddress {
  const ip = parseIp(text);
  return { linkIndex, ip, prefixLength: ip.family.bits - 8, scope, flags };
}

function defaultRoute(family: Route["family"], linkIndex: number | undefined, metric = 0): Route {
  const zero = prefixOf({ family, value: 0n }, 0);
  const common = {
    family,
    destination: zero,
    type: 1,
    protocol: 3,
    scope: 0,
    table: 254,
    metric,
    onlink: false,
  };
  return linkIndex === undefined
    ? { ...common, multipath: true }
    : { ...common, multipath: false, linkIndex };
}

/** A host as a Vagrant box has it: NAT first, the real network second, and both families on the second. */
const HOST: HostNetwork = {
  links: [
    link(1, "lo"),
    link(2, "eth0"),
    link(3, "eth1", { mtu: 9000 }),
    link(4, "flannel.1", { kind: "vxlan" }),
  ],
  addresses: [
    address(1, "127.0.0.1", PERMANENT, 254),
    address(2, "10.0.2.15", 0),
    address(2, "fe80::2", PERMANENT, 253),
    address(3, "192.168.50.4"),
    address(3, "192.168.50.5", PERMANENT | TEMPORARY),
    address(3, "fe80::3", PERMANENT, 253),
    address(3, "fd00::3"),
    address(4, "10.5.1.0"),
  ],
  routes: [defaultRoute(IPV4, 2), defaultRoute(IPV6, 3)],
  lookupRoute: (ip) =>
    formatIp(ip).startsWith("192.168.")
      ? { linkIndex: 3, preferredSource: parseIp("192.168.50.5") }
      : ip.family === IPV4
      ? { linkIndex: 2 }
      : undefined,
};

function request(more: Partial<InterfaceRequest> = {}): InterfaceRequest {
  return { families: [IPV4], ifaces: [], patterns: [], publicIps: {}, ...more };
}

/** `name address… → public…` */
function choose(more: Partial<InterfaceRequest>, host: HostNetwork = HOST): string {
  const { external } = chooseInterface(request(more), host);
  const list = (ips: PerFamily<Ip>) =>
    FAMILIES.flatMap((family) => ips[family.name] ? [formatIp(ips[family.name]!)] : []).join(" ");
  return `${external.name} ${list(external.addresses)} → ${list(external.publicIps)}`;
}

function refusal(more: Partial<InterfaceRequest>, host: HostNetwork = HOST): string {
  try {
    chooseInterface(request(more), host);
  } catch (error) {
    assert(error instanceof InterfaceError, String(error));
    return error.message;
  }
  return "accepted";
}

Deno.test("interface: what is asked for, in the contract's order", () => {
  const both = { families: [IPV4, IPV6] };
  const table: [string, Partial<InterfaceRequest>, string][] = [
    ["default route", {}, "eth0 10.0.2.15 → 10.0.2.15"],
    ["name", { ifaces: ["eth1"] }, "eth1 192.168.50.4 → 192.168.50.4"],
    ["address", { ifaces: ["192.168.50.5"] }, "eth1 192.168.50.5 → 192.168.50.5"],
    ["second name", { ifaces: ["eth9", "eth1", "eth0"] }, "eth1 192.168.50.4 → 192.168.50.4"],
    ["a name before a pattern", { ifaces: ["eth1"], patterns: [/eth0/] }, "eth1 192.168.50.4 → 192.168.50.4"],
    ["a pattern after names", { ifaces: ["eth9"], patterns: [/^eth0$/] }, "eth0 10.0.2.15 → 10.0.2.15"],
    ["a pattern on addresses", { patterns: [/^192\.168\./] }, "eth1 192.168.50.4 → 192.168.50.4"],
    ["addresses go before names", { patterns: [/50\.5|eth0/] }, "eth1 192.168.50.5 → 192.168.50.5"],
    ["own devices match no pattern", { patterns: [/^10\./] }, "eth0 10.0.2.15 → 10.0.2.15"],
    ["can reach", { canReach: parseIp("192.168.9.9") }, "eth1 192.168.50.5 → 192.168.50.5"],
    [
      "pattern before can reach",
      { patterns: [/eth0/], canReach: parseIp("192.168.9.9") },
      "eth0 10.0.2.15 → 10.0.2.15",
    ],
    ["both families, one interface has them", both, "eth1 192.168.50.4 fd00::3 → 192.168.50.4 fd00::3"],
    [
      "both families by an IPv6 address",
      { ...both, ifaces: ["fd00::3"] },
      "eth1 192.168.50.4 fd00::3 → 192.168.50.4 fd00::3",
    ],
    [
      "link-local where there is no other",
      { ...both, ifaces: ["eth0"] },
      "eth0 10.0.2.15 fe80::2 → 10.0.2.15 fe80::2",
    ],
    ["IPv6 only", { families: [IPV6] }, "eth1 fd00::3 → fd00::3"],
    [
      "public addresses",
      { ...both, publicIps: { ipv4: parseIp("203.0.113.9"), ipv6: parseIp("2001:db8::9") } },
      "eth1 192.168.50.4 fd00::3 → 203.0.113.9 2001:db8::9",
    ],
    [
      "a public address of a family that is off",
      { publicIps: { ipv6: parseIp("2001:db8::9") } },
      "eth0 10.0.2.15 → 10.0.2.15",
    ],
  ];
  for (const [name, more, expected] of table) assert.equal(choose(more), expected, name);
});

Deno.test("interface: default routes by metric, several next hops, one link for both families first", () => {
  const metrics = { ...HOST, routes: [defaultRoute(IPV4, 2, 200), defaultRoute(IPV4, 3, 100)] };
  assert.equal(choose({}, metrics), "eth1 192.168.50.4 → 192.168.50.4");
  const multipath = {
    ...HOST,
    routes: [defaultRoute(IPV4, undefined)],
    lookupRoute: () => ({ linkIndex: 3 }),
  };
  assert.equal(choose({}, multipath), "eth1 192.168.50.4 → 192.168.50.4");
  const both = {
    ...HOST,
    routes: [defaultRoute(IPV4, 2), defaultRoute(IPV4, 3, 100), defaultRoute(IPV6, 3)],
  };
  assert.equal(
    choose({ families: [IPV4, IPV6] }, both),
    "eth1 192.168.50.4 fd00::3 → 192.168.50.4 fd00::3",
  );
});

Deno.test("interface: a refusal names what was asked, what exists and how to fix it", () => {
  const here = "Interfaces here: lo (127.0.0.1), eth0 (10.0.2.15, fe80::2), " +
    "eth1 (192.168.50.4, 192.168.50.5, fe80::3, fd00::3), flannel.1 (10.5.1.0). " +
    "Name the one that reaches the other hosts with -iface NAME, or give it the address that it lacks";
  const none = "No interface with an address for IPv4 found: ";
  const table: [Partial<InterfaceRequest>, string][] = [
    [
      { ifaces: ["eth9"], patterns: [/^x/] },
      `${none}-iface eth9: nothing matches; -iface-regex ^x: nothing matches. ${here}`,
    ],
    [{ ifaces: ["lo"] }, `${none}lo: -iface lo names it, but it has no usable IPv4 address. ${here}`],
    [
      { canReach: parseIp("2001:db8::1") },
      `${none}-iface-can-reach 2001:db8::1: nothing matches. ${here}`,
    ],
  ];
  for (const [more, expected] of table) assert.equal(refusal(more), expected);
  assert.equal(
    refusal({}, { ...HOST, routes: [] }),
    `${none}the default route: there is none. ${here}`,
  );
  assert.equal(
    refusal({}, { links: [], addresses: [], routes: [], lookupRoute: () => undefined }),
    `${none}the default route: there is none. Interfaces here: none. ` +
      "Name the one that reaches the other hosts with -iface NAME, or give it the address that it lacks",
  );
});

Deno.test("interface: every candidate has a reason", () => {
  const links = [...HOST.links, link(5, "eth2", { flags: 0 })];
  const choice = chooseInterface(request({ ifaces: ["lo", "eth1"], patterns: [/^eth0$/] }), {
    ...HOST,
    links,
  });
  assert.deepEqual(choice.candidates.map(({ name, taken, reason }) => [name, taken, reason]), [
    ["lo", false, "-iface lo names it, but it has no usable IPv4 address"],
    ["eth0", false, "-iface-regex ^eth0$ matches its name, but eth1 comes first"],
    ["eth1", true, "-iface eth1 names it"],
    ["flannel.1", false, "is flannel's own device"],
    ["eth2", false, "no option points at it (it is down)"],
  ]);
  assert.deepEqual(choice.candidates[1]!.addresses, ["10.0.2.15", "fe80::2"]);
  assert.equal(choice.external.mtu, 9000);
  const byRoute = chooseInterface(request(), HOST);
  assert.deepEqual(byRoute.candidates.map(({ reason }) => reason), [
    "no default route goes over it",
    "the IPv4 default route goes over it",
    "no default route goes over it",
    "is flannel's own device",
  ]);
});

Deno.test("address choice: global, permanent, never temporary, deprecated, failed or loopback", () => {
  const table: [string, LinkAddress[], PerFamily<string>][] = [
    ["global before link-local", [address(1, "fe80::1", PERMANENT, 253), address(1, "fd00::1")], {
      ipv6: "fd00::1",
    }],
    ["permanent before dynamic", [address(1, "fd00::1", 0), address(1, "fd00::2")], { ipv6: "fd00::2" }],
    ["global dynamic before link-local", [address(1, "169.254.1.1"), address(1, "10.0.0.1", 0)], {
      ipv4: "10.0.0.1",
    }],
    ["never temporary", [address(1, "fd00::1", TEMPORARY)], {}],
    ["secondary IPv4 is fine", [address(1, "10.0.0.2", PERMANENT | TEMPORARY)], { ipv4: "10.0.0.2" }],
    [
      "never deprecated",
      [address(1, "10.0.0.1", PERMANENT | DEPRECATED), address(1, "fd00::1", DEPRECATED)],
      {},
    ],
    ["never a duplicate", [address(1, "fd00::1", PERMANENT | TENTATIVE | DADFAILED)], {}],
    ["tentative after ready", [address(1, "fd00::1", PERMANENT | TENTATIVE), address(1, "fd00::2")], {
      ipv6: "fd00::2",
    }],
    [
      "loopback never",
      [address(1, "127.0.0.1"), address(1, "::1"), address(1, "10.0.0.1", PERMANENT, 254)],
      {},
    ],
    ["the kernel's order", [address(1, "10.0.0.2"), address(1, "10.0.0.1")], { ipv4: "10.0.0.2" }],
  ];
  for (const [name, addresses, expected] of table) {
    const got = perFamily(FAMILIES, (family) => {
      const ip = chooseAddress(family, addresses);
      return ip && formatIp(ip);
    });
    assert.deepEqual(got, expected, name);
  }
});

// The default route's interface was taken: behind a NAT, hosts that named the right address did not reach each other.
Deno.test("interface: without options the one that has the public address goes before the default route's", () => {
  const ipv4 = parseIp("192.168.50.4");
  assert.equal(choose({ publicIps: { ipv4 } }), "eth1 192.168.50.4 → 192.168.50.4");
  assert.equal(choose({ publicIps: { ipv4 }, ifaces: ["eth0"] }), "eth0 10.0.2.15 → 192.168.50.4");
  assert.equal(choose({ publicIps: { ipv4: parseIp("198.51.100.7") } }), "eth0 10.0.2.15 → 198.51.100.7");
  assert.equal(choose({ publicIps: { ipv4: parseIp("10.5.1.0") } }), "eth0 10.0.2.15 → 10.5.1.0");
});

// lo was taken for a public address that routing announces: packets left with lo's address and MTU.
Deno.test("interface: a public address on a loopback interface doesn't choose it", () => {
  const links = [link(1, "lo", { flags: 0x49 }), ...HOST.links.slice(1)];
  const addresses = [...HOST.addresses, address(1, "172.31.0.77")];
  const publicIps = { ipv4: parseIp("172.31.0.77") };
  assert.equal(choose({ publicIps }, { ...HOST, links, addresses }), "eth0 10.0.2.15 → 172.31.0.77");
});
