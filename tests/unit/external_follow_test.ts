import assert from "node:assert/strict";
import { ExternalFollower, type LinkReader } from "../../lib/external/follow.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import type { Link, LinkAddress } from "../../lib/netlink/types.ts";
import { formatIp, parseIp } from "../../lib/net/ip.ts";

const PERMANENT = 0x80, DEPRECATED = 0x20, TENTATIVE = 0x40, DADFAILED = 0x08;

/** A host whose links and addresses the test sets. */
class TestHost implements LinkReader {
  links: Link[] = [{ index: 2, name: "eth0", flags: 1, mtu: 1500 }];
  all: LinkAddress[] = [];

  /** `172.30.0.1/24`, on link 2 unless a link is given. */
  set(...texts: (string | [string, number])[]): void {
    this.all = texts.map((each) => {
      const [text, flags] = typeof each === "string" ? [each, PERMANENT] : each;
      const [cidr, linkIndex = "2"] = text.split("@");
      const [ip, length] = cidr!.split("/");
      return {
        ip: parseIp(ip!),
        prefixLength: Number(length),
        flags,
        scope: 0,
        linkIndex: Number(linkIndex),
      };
    });
  }

  link(nameOrIndex: string | number): Link | undefined {
    return this.links.find(({ name, index }) => name === nameOrIndex || index === nameOrIndex);
  }

  addresses(linkIndex: number): LinkAddress[] {
    return this.all.filter((address) => address.linkIndex === linkIndex);
  }
}

function start(own: string, named: readonly string[] = []): { host: TestHost; follower: ExternalFollower } {
  const ip = parseIp(own);
  const addresses = { [ip.family.name]: ip };
  const first: ExternalInterface = { name: "eth0", index: 2, mtu: 1500, addresses, publicIps: addresses };
  return {
    host: new TestHost(),
    follower: new ExternalFollower(first, { publicIps: {}, named: named.map(parseIp) }),
  };
}

/** The address that is published, and when to look again. */
function look(follower: ExternalFollower, host: TestHost, now: number): string {
  const { external: { addresses, publicIps }, again } = follower.refresh(host, now);
  const ip = addresses.ipv4 ?? addresses.ipv6!;
  assert.deepEqual(publicIps, addresses);
  return formatIp(ip) + (again === undefined ? "" : ` again in ${again}`);
}

Deno.test("a virtual address isn't published while the own one is away for a moment", () => {
  const { host, follower } = start("172.30.0.1");
  host.set("172.30.0.1/24", "172.30.0.100/32");
  assert.equal(look(follower, host, 0), "172.30.0.1");
  host.set("172.30.0.100/32");
  assert.equal(look(follower, host, 1_000), "172.30.0.1 again in 5000");
  assert.equal(look(follower, host, 4_000), "172.30.0.1 again in 2000");
  host.set("172.30.0.100/32", "172.30.0.1/24");
  assert.equal(look(follower, host, 5_900), "172.30.0.1");
  host.set("172.30.0.100/32");
  assert.equal(look(follower, host, 6_000), "172.30.0.1 again in 5000");
  assert.equal(look(follower, host, 11_000), "172.30.0.100");
});

Deno.test("another address that was there beside the own one waits 5 s, one that came after it 1 s", () => {
  const { host, follower } = start("172.30.0.1");
  host.set("172.30.0.1/24", "172.30.0.50/24");
  look(follower, host, 0);
  host.set("172.30.0.50/24");
  assert.equal(look(follower, host, 0), "172.30.0.1 again in 5000");
  host.set("172.30.0.1/24", "172.30.0.50/24");
  look(follower, host, 100);
  host.set();
  assert.equal(look(follower, host, 200), "172.30.0.1");
  host.set("172.30.0.71/24");
  assert.equal(look(follower, host, 300), "172.30.0.1 again in 1000");
  assert.equal(look(follower, host, 1_300), "172.30.0.71");
  host.set("172.30.0.71/24", "172.30.0.1/24");
  assert.equal(look(follower, host, 2_000), "172.30.0.1", "the first one is gone back to");
});

Deno.test("a virtual address never overtakes the address that the host was given", () => {
  const { host, follower } = start("172.30.0.1");
  host.set();
  look(follower, host, 0);
  host.set("172.30.0.100/32");
  assert.equal(look(follower, host, 10_000), "172.30.0.1 again in 5000");
  host.set("172.30.0.100/32", "172.30.0.71/24");
  assert.equal(look(follower, host, 14_900), "172.30.0.1 again in 1000");
  assert.equal(look(follower, host, 15_900), "172.30.0.71");
});

Deno.test("never a deprecated, tentative or duplicate address: nor the own one while another serves", () => {
  const { host, follower } = start("fd00::1");
  for (const flags of [DEPRECATED, TENTATIVE, DADFAILED | TENTATIVE]) {
    host.set(["fd00::2/64", PERMANENT | flags]);
    assert.equal(look(follower, host, 0), "fd00::1");
    assert.equal(look(follower, host, 100_000), "fd00::1");
  }
  host.set(["fd00::1/64", DEPRECATED], "fd00::2/64");
  assert.equal(look(follower, host, 200_000), "fd00::1 again in 1000");
  assert.equal(look(follower, host, 201_000), "fd00::2");
  host.set(["fd00::1/64", TENTATIVE], "fd00::2/64");
  assert.equal(look(follower, host, 202_000), "fd00::2");
  host.set("fd00::1/64", "fd00::2/64");
  assert.equal(look(follower, host, 203_000), "fd00::1");
});

Deno.test("an address that -iface names serves whatever the kernel says of it", () => {
  const { host, follower } = start("fd00::1", ["fd00::1"]);
  host.set(["fd00::1/64", DEPRECATED], "fd00::2/64");
  assert.equal(look(follower, host, 0), "fd00::1");
  assert.equal(look(follower, host, 100_000), "fd00::1");
});

Deno.test("a link-local address never takes a global one's place", () => {
  const { host, follower } = start("fd00::1");
  host.set("fe80::1/64");
  look(follower, host, 0);
  assert.equal(look(follower, host, 60_000), "fd00::1");
});

Deno.test("a renamed interface is followed, and found by either name when it is recreated", () => {
  const { host, follower } = start("172.30.0.1");
  const names = (now: number) => {
    const { name, index } = follower.refresh(host, now).external;
    return `${name} ${index}`;
  };
  host.set("172.30.0.1/24", "172.30.0.9/24@7");
  host.links = [{ index: 2, name: "wan", flags: 1, mtu: 1500 }];
  assert.equal(names(0), "wan 2");
  // Something else gets the old name: the link with the own address is the interface.
  host.links.push({ index: 7, name: "eth0", flags: 1, mtu: 1500 });
  assert.equal(names(1), "wan 2");
  host.links = [{ index: 7, name: "eth0", flags: 1, mtu: 1400 }];
  assert.equal(names(2), "eth0 7");
  host.links = [];
  assert.equal(names(3), "eth0 7", "what is away stays as it was");
});
