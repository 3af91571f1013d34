/**
 * Entries of the kernel that lead packets to hosts that no longer have the subnet.
 *
 * @module
 */
import { networkIdOf } from "../../daemon/store.ts";
import { keptPlan } from "../../daemon/planner.ts";
import { readActualEntries } from "../../kernel/actual_entries.ts";
import { DesiredEntries } from "../../kernel/desired_entries.ts";
import { describeEntry, type Entry, sameEntry } from "../../kernel/entries.ts";
import { linkAlias } from "../../kernel/own_links.ts";
import { formatIp } from "../../net/ip.ts";
import { formatPrefix } from "../../net/prefix.ts";
import { NotKnown } from "../not_known.ts";
import type { Scene } from "../scene.ts";
import { type Check, ok } from "../types.ts";

/** How many commands a remedy holds. */
const MAX_COMMANDS = 10;

interface StaleFacts {
  /** Without a daemon nothing corrects them. */
  readonly running: boolean;
  readonly stale: readonly Entry[];
}

/** Reads what stands on our devices and carries our mark, and compares it with the leases. */
export const staleEntries: Check<StaleFacts> = {
  name: "entries",
  group: "network",
  looksAt: "routes, neighbours and fdb entries that no lease asks for, where no daemon removes them",
  async read(scene) {
    // A daemon removes them itself, and reports what it can't remove.
    if ((await scene.daemon()).status) return { running: true, stale: [] };
    return { running: false, stale: await readStale(scene) };
  },
  judge({ running, stale }) {
    if (running) return [];
    if (stale.length === 0) return [ok("no entries but those that leases ask for")];
    return [{
      severity: "warning",
      text:
        `${stale.length === 1 ? "1 entry" : `${stale.length} entries`} of an earlier run or another tool ` +
        "that no lease asks for: packets may go to a host that no longer has the subnet",
      evidence: stale.slice(0, MAX_COMMANDS).map(describeEntry),
      remedy: [
        "systemctl start flanneld   # removes them; or:",
        ...stale.slice(0, MAX_COMMANDS).map(removal),
      ],
    }];
  },
};

async function readStale(scene: Scene): Promise<Entry[]> {
  const { kernel, options } = scene;
  const peers = await scene.peers().catch((error) => {
    throw error instanceof NotKnown ? error : new NotKnown("the leases cannot be read");
  });
  const { config } = await scene.network();
  const plan = await scene.plan();
  const desired = new DesiredEntries();
  desired.set("", keptPlan(plan, { subnets: await scene.subnets() }, options).entries);
  for (const peer of peers) {
    desired.set(Object.values(peer.subnets).map(formatPrefix).join(), plan.forPeer(peer).entries);
  }
  const alias = linkAlias(networkIdOf(options));
  const links = plan.links.flatMap(({ name, kind }) => {
    const link = kernel.links.find((one) => one.name === name);
    return link && (link.alias === undefined || link.alias === alias)
      ? [{ name, kind, index: link.index }]
      : [];
  });
  const actual = readActualEntries(kernel.socket, {
    networks: config.families.map(({ network }) => network),
    links,
    linkName: (index) => kernel.links.find((link) => link.index === index)?.name,
  });
  return [...actual].map(({ entry }) => entry).filter((entry) => {
    const wanted = desired.get(entry);
    return !wanted || !sameEntry(wanted, entry);
  });
}

/** The command that takes an entry away. */
function removal(entry: Entry): string {
  switch (entry.kind) {
    case "neighbour":
      return `ip neighbour delete ${formatIp(entry.ip)} dev ${entry.link}`;
    case "fdb":
      return `bridge fdb delete ${entry.mac} dev ${entry.link} dst ${formatIp(entry.remote)} self`;
    case "route":
      return `ip route delete ${formatPrefix(entry.destination)} dev ${entry.link}`;
    case "blackhole":
      return `ip route delete blackhole ${formatPrefix(entry.destination)}`;
  }
}
