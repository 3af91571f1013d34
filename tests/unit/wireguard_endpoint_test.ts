/** From a peer's lease to its entry on the device: which address, which port, which subnets, or why there is none. */
import assert from "node:assert/strict";
import { type OwnEnd, peerOfBoth, peerOfFamily } from "../../backends/wireguard/endpoint.ts";
import { parseWireguardOptions, type WireguardOptions } from "../../backends/wireguard/options.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { formatPrefix } from "../../lib/net/prefix.ts";
import { formatEndpoint, type WireguardPeer } from "../../lib/wireguard/types.ts";
import { peer } from "./backend_fixtures.ts";

const KEY = "v0qEHUKkdg4CSNtAOfxZU3AoeipjIGnrBD992BUsmiY=";
const OTHER_KEY = "KF2sLfmhTbb9oIhTMjUGJXpeUwjPWDmFWe5vr0lSGkw=";
const OWN_KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

function options(backend: JsonObject): WireguardOptions {
  const { options, faults } = parseWireguardOptions(backend, [IPV4, IPV6]);
  assert.deepEqual(faults, []);
  return options;
}

function own(...addresses: string[]): OwnEnd {
  const ips = Object.fromEntries(addresses.map(parseIp).map((ip) => [ip.family.name, ip]));
  return { publicKey: OWN_KEY, addresses: ips, publicIps: ips };
}

/** A lease of both families; `null` takes a field away. */
function lease(changes: JsonObject = {}, key = "10.5.7.0-24&fc00:0:0:7::-64") {
  const fields = {
    ...{ PublicIP: "192.0.2.7", PublicIPv6: "2001:db8::7", BackendType: "wireguard" },
    BackendData: { PublicKey: KEY, Port: 51820 },
    BackendV6Data: { PublicKey: KEY, Port: 51821 },
    ...changes,
  };
  return peer(key, Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)));
}

function summary(read: WireguardPeer | string): string {
  if (typeof read === "string") return read;
  return `${read.endpoint ? formatEndpoint(read.endpoint) : "none"} ${
    read.allowedIps.map(formatPrefix).join()
  }`;
}

const PUBLIC4 = "198.51.100.1", PUBLIC6 = "2001:db8::1", PRIVATE4 = "10.0.0.1", PRIVATE6 = "fd00::1";

/** Mode, own addresses, the peer's addresses, and which of them is taken. */
type Choice = readonly [mode: string, mine: string[], theirs: string[], taken: string];

/** A peer with one address is reached there, in every mode. */
const ONLY: readonly Choice[] = ["auto", "ipv4", "ipv6"].flatMap((mode) =>
  [[PUBLIC4], [PUBLIC6], [PUBLIC4, PUBLIC6]].flatMap((mine) =>
    ["192.0.2.7", "2001:db8::7"].map((address): Choice => [mode, mine, [address], address])
  )
);

const CHOICES: readonly Choice[] = [
  ...ONLY,
  ["ipv4", [PUBLIC4, PUBLIC6], ["192.0.2.7", "2001:db8::7"], "192.0.2.7"],
  ["ipv6", [PUBLIC4, PUBLIC6], ["192.0.2.7", "2001:db8::7"], "2001:db8::7"],
  // auto, as the original: a public IPv4 address first, then IPv6 that is public on both sides, then IPv4.
  ["auto", [PUBLIC4, PUBLIC6], ["192.0.2.7", "2001:db8::7"], "192.0.2.7"],
  ["auto", [PUBLIC4, PUBLIC6], ["10.0.0.7", "2001:db8::7"], "2001:db8::7"],
  ["auto", [PUBLIC4, PUBLIC6], ["10.0.0.7", "fd00::7"], "10.0.0.7"],
  ["auto", [PRIVATE4, PRIVATE6], ["10.0.0.7", "2001:db8::7"], "10.0.0.7"],
  ["auto", [PRIVATE4, PUBLIC6], ["172.31.255.7", "2001:db8::7"], "2001:db8::7"],
  ["auto", [PRIVATE4, PUBLIC6], ["172.32.0.7", "2001:db8::7"], "172.32.0.7"],
  ["auto", [PUBLIC4], ["10.0.0.7", "2001:db8::7"], "10.0.0.7"],
  ["auto", [PUBLIC6], ["192.0.2.7", "fd00::7"], "fd00::7"],
];

for (const [mode, mine, theirs, taken] of CHOICES) {
  const title = `wireguard endpoint: ${mode}, from ${mine.join("+")} to ${theirs.join("+")}: ${taken}`;
  Deno.test(title, () => {
    const [ipv4, ipv6] = [/\./, /:/].map((family) => theirs.find((address) => family.test(address)));
    const read = peerOfBoth(
      lease({ PublicIP: ipv4 ?? "0.0.0.0", PublicIPv6: ipv6 ?? null }),
      options({ Mode: mode }),
      own(...mine),
    );
    const port = "51820 10.5.7.0/24,fc00:0:0:7::/64";
    assert.equal(summary(read), taken.includes(":") ? `[${taken}]:${port}` : `${taken}:${port}`);
  });
}

Deno.test("wireguard endpoint: separate devices have the family's address, key, port and subnet", () => {
  const separate = options({});
  const us = own(PUBLIC4, PUBLIC6);
  const both = lease({ BackendV6Data: { PublicKey: OTHER_KEY, Port: 7 } });
  const read = [IPV4, IPV6].map((family) => peerOfFamily(both, family, separate, us));
  assert.deepEqual(read.map(summary), ["192.0.2.7:51820 10.5.7.0/24", "[2001:db8::7]:7 fc00:0:0:7::/64"]);
  assert.deepEqual(read.map((each) => typeof each === "object" && each.publicKey), [KEY, OTHER_KEY]);
  const alone = lease({ PublicIPv6: null, BackendV6Data: null }, "10.5.7.0-24");
  assert.equal(summary(peerOfFamily(alone, IPV6, separate, us)), "it has no IPv6 subnet");
  const half = lease({ BackendV6Data: null });
  assert.equal(summary(peerOfFamily(half, IPV6, separate, us)), "its lease has no PublicKey for IPv6");
  const hidden = lease({ PublicIPv6: null });
  assert.equal(summary(peerOfFamily(hidden, IPV6, separate, us)), "it has no public IPv6 address");
});

Deno.test("wireguard endpoint: the port of a peer with one device is the one that it listens on", () => {
  const one = options({ Mode: "auto" });
  const us = own(PUBLIC4, PUBLIC6);
  const port = (changes: JsonObject) => /:(\d+) /.exec(summary(peerOfBoth(lease(changes), one, us)))?.[1];
  const data = (Port?: number) => ({ PublicKey: KEY, ...Port === undefined ? {} : { Port } });
  assert.equal(port({ BackendData: data(7000) }), "7000");
  // The original publishes ListenPortV6 there, and listens on ListenPort alone.
  assert.equal(port({ BackendData: null, PublicIP: "0.0.0.0" }), "51820");
  assert.equal(port({ BackendData: null, BackendV6Data: data(7000) }), "7000");
  // Old versions publish none.
  assert.equal(port({ BackendData: data(), BackendV6Data: data() }), "51820");
  assert.equal(port({ BackendData: data(0) }), "51820");
});

Deno.test("wireguard endpoint: what a lease says wrongly costs that lease alone", () => {
  const us = own(PUBLIC4, PUBLIC6), auto = options({ Mode: "auto" });
  const data = (fields: JsonObject) => ({ BackendData: fields, BackendV6Data: null });
  const none = "its lease has no usable PublicKey";
  for (
    const [changes, reason] of [
      [{ BackendType: null }, "its lease has no backend type, not wireguard"],
      [{ BackendType: "vxlan" }, 'its lease has backend type "vxlan", not wireguard'],
      [{ BackendData: null, BackendV6Data: null }, none],
      [{ BackendData: [KEY], BackendV6Data: KEY }, none],
      [data({ PublicKey: KEY.slice(4) }), none],
      [data({ PublicKey: `${KEY}\nprivate_key=00` }), none],
      [data({ PublicKey: KEY.replaceAll("/", "_").replace("=", "A") }), none],
      [data({ PublicKey: 7 }), none],
      [
        data({ PublicKey: OWN_KEY }),
        "it has this host's own key: run flanneld wireguard rotate on one of the two",
      ],
    ] as const
  ) {
    assert.equal(peerOfBoth(lease(changes), auto, us), reason, JSON.stringify(changes));
  }
  // The kernel ignores a peer with the device's own key, and each pass would have missed it.
  const half = lease({ BackendV6Data: { PublicKey: OWN_KEY, Port: 51821 } });
  assert.match(summary(peerOfFamily(half, IPV6, options({}), us)), /own key/);
  assert.match(summary(peerOfFamily(half, IPV4, options({}), us)), /^192/);
  // A lease of this host's past, with another key; and another host behind the same NAT.
  const past = lease({ PublicIP: PUBLIC4, PublicIPv6: null });
  assert.equal(summary(peerOfBoth(past, auto, us)), `${PUBLIC4}:51820 is this host's own address`);
  assert.equal(
    summary(peerOfBoth(lease({ PublicIP: PUBLIC4, BackendData: { PublicKey: KEY, Port: 7 } }), auto, us))
      .split(" ")[0],
    `${PUBLIC4}:7`,
  );
  for (const Port of [0, -1, 70_000, 1.5, "51820", null, {}]) {
    const read = peerOfBoth(lease({ BackendData: { PublicKey: KEY, Port } }), auto, us);
    assert.equal(summary(read).split(" ")[0], "192.0.2.7:51820", `${Port}`);
  }
});

// Such peers were configured: what was for them went to this host itself, to many, or nowhere.
Deno.test("wireguard endpoint: a peer whose address can't be a host's is refused in every mode", () => {
  const us = own(PUBLIC4, PUBLIC6);
  const none = "can't be a host's address", linkLocal = "is a link-local address, ";
  for (
    const [address, reason] of [
      ["127.0.0.1", none],
      ["0.1.2.3", none],
      ["224.0.0.1", none],
      ["255.255.255.255", none],
      ["::1", none],
      ["ff02::1", none],
      ["::ffff:c000:207", none],
      ["fe80::7", linkLocal],
    ] as const
  ) {
    const isIpv6 = address.includes(":");
    const changes = isIpv6 ? { PublicIPv6: address } : { PublicIP: address };
    const text = `${address} ${reason}`;
    const separate = peerOfFamily(lease(changes), isIpv6 ? IPV6 : IPV4, options({}), us);
    assert.ok(summary(separate).startsWith(text), summary(separate));
    const only = lease({ PublicIP: "0.0.0.0", PublicIPv6: null, ...changes });
    for (const Mode of ["auto", "ipv4", "ipv6"]) {
      const both = peerOfBoth(only, options({ Mode }), us);
      assert.ok(summary(both).startsWith(text), `${Mode}: ${summary(both)}`);
    }
  }
});

Deno.test("wireguard endpoint: a link-local IPv6 address isn't taken where there is an IPv4 address", () => {
  const us = own("10.0.0.1", "fe80::1");
  for (const Mode of ["auto", "ipv4", "ipv6"]) {
    const read = peerOfBoth(lease({ PublicIP: "10.0.0.7", PublicIPv6: "fe80::7" }), options({ Mode }), us);
    assert.equal(summary(read).split(" ")[0], "10.0.0.7:51820", Mode);
  }
});

Deno.test("wireguard endpoint: behind NAT the interface's own address is this host's, too", () => {
  const nat = { ...own(PUBLIC4), addresses: { ipv4: parseIp("10.0.0.1") } };
  const past = lease({ PublicIP: "10.0.0.1", PublicIPv6: null });
  assert.equal(
    summary(peerOfBoth(past, options({ Mode: "auto" }), nat)),
    "10.0.0.1:51820 is this host's own address",
  );
});

Deno.test("wireguard: a lease is the original's, byte for byte", () => {
  const data = (Port: number) => ({ PublicKey: KEY, Port });
  const text = encodeLeaseValue({
    publicIps: { ipv4: parseIp("172.30.0.2"), ipv6: parseIp("fd00::2") },
    backendType: "wireguard",
    backendData: { ipv4: data(51820), ipv6: data(51821) },
  });
  assert.equal(
    text,
    `{"PublicIP":"172.30.0.2","PublicIPv6":"fd00::2","BackendType":"wireguard",` +
      `"BackendData":{"PublicKey":"${KEY}","Port":51820},"BackendV6Data":{"PublicKey":"${KEY}","Port":51821}}`,
  );
});

Deno.test("wireguard options: the least MTU is the least of what is inside, and the overhead", () => {
  const faults = (MTU: number, ...families: typeof IPV4[]) =>
    parseWireguardOptions({ MTU }, families).faults.map(({ key, message }) => `${key} ${message}`).join();
  // 1300 was refused on hosts without IPv6, too.
  assert.equal(faults(1300, IPV4), "");
  assert.equal(faults(148, IPV4), "");
  assert.match(faults(147, IPV4), /MTU/);
  assert.match(faults(1359, IPV4, IPV6), /MTU/);
  assert.equal(faults(1360, IPV6), "");
});
