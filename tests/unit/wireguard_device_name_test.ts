import assert from "node:assert/strict";
import { deviceNames } from "../../backends/wireguard/device_name.ts";
import { linkAlias } from "../../lib/kernel/own_links.ts";
import { link } from "./backend_fixtures.ts";

Deno.test("wireguard devices: the original's names, others where another network has those", () => {
  const names = (...links: Parameters<typeof link>[0][]) => deviceNames(links.map(link), "/net").main;
  const [own, other] = [linkAlias("/net"), linkAlias("/other")];
  assert.deepEqual(deviceNames([], "/net"), { main: "flannel-wg", ipv6: "flannel-wg-v6" });
  assert.equal(names({ index: 7, name: "flannel-wg" }), "flannel-wg", "the original's has no mark");
  assert.equal(names({ index: 7, name: "flannel-wg", alias: "somebody" }), "flannel-wg", "to be refused");
  assert.equal(names({ index: 7, name: "flannel-wg", alias: other }), "flannel-wg1");
  assert.equal(names({ index: 7, name: "flannel-wg-v6", alias: other }), "flannel-wg1");
  assert.equal(
    names({ index: 7, name: "flannel-wg", alias: other }, {
      index: 8,
      name: "flannel-wg1-v6",
      alias: linkAlias("/third"),
    }),
    "flannel-wg2",
  );
  assert.equal(
    names({ index: 7, name: "flannel-wg3-v6", alias: own }),
    "flannel-wg3",
    "its own are found again",
  );
  assert.equal(names({ index: 7, name: "renamed", alias: own }), "flannel-wg");
});
