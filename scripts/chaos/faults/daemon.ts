/**
 * Faults of the daemon.
 *
 * @module
 */
import { delay } from "../../lab/process.ts";
import type { Fault } from "../fault.ts";

/** How long an orderly end may take before the service manager kills, in milliseconds. */
const STOP_LIMIT = 20_000;

export const DAEMON_FAULTS: readonly Fault[] = [
  {
    name: "daemon SIGTERM",
    claims: "daemon",
    lasts: [0, 3000],
    begin: ({ host }) => host.daemon.stop(STOP_LIMIT),
    end: ({ host }) => host.daemon.start(),
  },
  {
    name: "daemon SIGKILL",
    claims: "daemon",
    lasts: [0, 3000],
    begin: ({ host }) => host.daemon.kill(),
    end: ({ host }) => host.daemon.start(),
  },
  {
    name: "daemon SIGSTOP",
    claims: "daemon",
    lasts: [500, 12_000],
    begin: ({ host }) => host.daemon.signal("SIGSTOP"),
    end: ({ host }) => host.daemon.signal("SIGCONT"),
  },
  {
    name: "all daemons SIGKILL",
    claims: "every daemon",
    lasts: [0, 3000],
    begin: async ({ network }) => void await Promise.all(network.hosts.map((host) => host.daemon.kill())),
    async end({ network, random }) {
      for (const host of network.hosts) {
        host.daemon.start();
        await delay(random.below(200));
      }
    },
  },
];
