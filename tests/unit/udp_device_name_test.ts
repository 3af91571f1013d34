import assert from "node:assert/strict";
import { tunName } from "../../backends/udp/control/device_name.ts";
import { linkAlias } from "../../lib/kernel/own_links.ts";
import { IFF_LOWER_UP } from "../../lib/netlink/constants.ts";
import type { Link } from "../../lib/netlink/types.ts";

const NETWORK = "/coreos.com/network";
const MARK = linkAlias(NETWORK);

function link(name: string, values: Partial<Link> = {}): Link {
  return { index: 9, name, kind: "tun", mtu: 1472, flags: 0, ...values };
}

Deno.test("udp device: the marked one keeps its number, and a free number is taken otherwise", () => {
  assert.equal(tunName([], NETWORK), "flannel0");
  assert.equal(tunName([link("flannel3", { alias: MARK })], NETWORK), "flannel3");
  assert.equal(tunName([link("flannel0", { alias: "flanneld /other" })], NETWORK), "flannel1");
  assert.equal(tunName([link("flannel0", { flags: IFF_LOWER_UP })], NETWORK), "flannel1");
});

Deno.test("udp device: one that was left without a mark and without a process counts as free", () => {
  assert.equal(tunName([link("flannel0")], NETWORK), "flannel0");
});

// It kept the foreign name when somebody had renamed it while the daemon was down.
Deno.test("udp device: a marked one that was renamed gets a name of flannel's again", () => {
  assert.equal(tunName([link("other7", { alias: MARK })], NETWORK), "flannel0");
  const both = [link("flannel0", { alias: "flanneld /other" }), link("other7", { alias: MARK })];
  assert.equal(tunName(both, NETWORK), "flannel1");
});
