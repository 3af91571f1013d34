import assert from "node:assert/strict";
import { HostKeeper } from "../../lib/kernel/host_keeper.ts";
import { noMetrics, noProblems, silentLog } from "../../lib/observe/types.ts";
import { until } from "../fakes/session.ts";
import { ip, KernelHost, NETWORKS, wireRoute } from "./kernel_host.ts";
import { namespaceTest } from "./netns.ts";

// A peer that came in the moment between a write's end and the note that nothing is being written stayed without
// entries until the next full pass, up to a minute: two nodes that started together did not reach each other.
namespaceTest(
  import.meta,
  "host keeper: a peer that comes at any moment of another one's write is written at once",
  async () => {
    using host = new KernelHost();
    const keeper = new HostKeeper({
      socket: host.socket,
      networks: NETWORKS,
      networkId: "/test",
      log: silentLog,
      metrics: noMetrics,
      problems: noProblems,
    });
    await keeper.pass();
    for (let moment = 0; moment < 40; moment++) {
      const first = `10.5.${moment}.0/24`, second = `10.6.${moment}.0/24`;
      keeper.setPeers([[first, [wireRoute(first, "172.30.0.7")]]]);
      for (let turn = 0; turn < moment; turn++) await Promise.resolve();
      keeper.setPeers([[second, [wireRoute(second, "172.30.0.8")]]]);
      await until(`the routes of moment ${moment}`, () => {
        const routes = ip("route show").join("\n");
        return routes.includes(first) && routes.includes(second);
      });
    }
    assert.equal(keeper.state().entries, 80);
  },
);
