/**
 * The running daemon: what it reports of itself, and whether the kernel has what the peers' leases ask for.
 *
 * @module
 */
import { describeEntry, type Entry } from "../../kernel/entries.ts";
import { formatPrefix } from "../../net/prefix.ts";
import { FAMILIES } from "../../net/family.ts";
import type { Scene } from "../scene.ts";
import { type Check, count, type Finding, ok } from "../types.ts";

interface DaemonFacts {
  readonly running: boolean;
  /** Why none answers. */
  readonly silence?: string;
  /** There may be one: it wasn't asked, or gave no answer. */
  readonly unknown?: "no answer" | "not root";
  /** `key: text` of what it reports as wrong. */
  readonly problems: readonly string[];
  readonly notReady: readonly string[];
  /** What the kernel refused: the entry and the error. */
  readonly failures: readonly string[];
  /** Peers that aren't reached, or only in part, and why. */
  readonly unreached: readonly string[];
  /** Routes to peers that the kernel doesn't have. */
  readonly missing: readonly string[];
  /** Peers whose leases were read; undefined where they can't be. */
  readonly peers: number | undefined;
}

/** Asks the daemon, and compares the kernel's routes with the peers' leases. */
export const daemon: Check<DaemonFacts> = {
  name: "daemon",
  group: "network",
  looksAt: "the running daemon, what it reports, and routes that the leases ask for and the kernel lacks",
  async read(scene) {
    const { status, silence, isAway = false } = await scene.daemon();
    if (!status) {
      const unknown = Deno.uid() === 0 ? "no answer" : "not root";
      return {
        ...{ running: false, problems: [], notReady: [], failures: [], unreached: [], missing: [] },
        peers: undefined,
        ...(silence === undefined ? {} : { silence }),
        ...(isAway ? {} : { unknown }),
      };
    }
    const { problems, notReady, kernel, peers } = status;
    const routes = await missingRoutes(scene);
    return {
      running: true,
      problems: problems.map(({ problem }) => problem),
      notReady,
      failures: kernel?.failures.map(({ entry, error }) => `${entry}: ${error}`) ?? [],
      unreached: peers?.problems.map(({ key, problem }) => `${key}: ${problem}`) ?? [],
      ...routes,
    };
  },
  judge(facts) {
    const { running, problems, notReady, failures, unreached, missing, peers } = facts;
    if (!running) return [silent(facts)];
    const remedy = ["flanneld status"];
    const findings = [
      ...notReady.map((text): Finding => ({ severity: "fault", text: `not ready: ${text}`, remedy })),
      ...problems.filter((text) => !notReady.includes(text)).map((text): Finding => ({
        ...{ severity: "warning", text, remedy },
      })),
      ...(unreached.length === 0 ? [] : [
        {
          severity: "warning",
          text: `${count(unreached.length, "peer")} cannot be reached, or only in part`,
          evidence: unreached.slice(0, 10),
          remedy,
        } as const,
      ]),
      ...(failures.length === 0 ? [] : [entriesFinding("the kernel refuses", failures)]),
      ...(missing.length === 0 ? [] : [entriesFinding("the kernel lacks", missing)]),
    ];
    if (findings.length > 0) return findings;
    return [
      ok(
        peers === undefined
          ? "runs, is ready"
          : `runs, is ready, and has the routes to ${count(peers, "peer")}`,
      ),
    ];
  },
};

function entriesFinding(what: string, entries: readonly string[]): Finding {
  return {
    severity: "fault",
    text: `${what} ${entries.length} ${
      entries.length === 1 ? "entry" : "entries"
    } that peers' leases ask for`,
    evidence: entries.slice(0, 10),
    remedy: ["systemctl restart flanneld   # the data path stays"],
  };
}

async function missingRoutes(scene: Scene): Promise<Pick<DaemonFacts, "missing" | "peers">> {
  try {
    const [peers, plan] = await Promise.all([scene.peers(), scene.plan()]);
    const present = new Set(
      FAMILIES.flatMap((family) =>
        scene.kernel.routes(family).map((route) => formatPrefix(route.destination))
      ),
    );
    const wanted = peers.flatMap((peer) => plan.forPeer(peer).entries).filter((entry) =>
      entry.kind === "route"
    );
    const missing = wanted.filter((entry: Entry) =>
      entry.kind === "route" && !present.has(formatPrefix(entry.destination))
    );
    return { missing: missing.map(describeEntry), peers: peers.length };
  } catch {
    // Other checks say why the leases or the plan can't be known.
    return { missing: [], peers: undefined };
  }
}

/** Without an answer: nothing runs, this user may not ask, or it hangs. */
function silent({ silence, unknown }: DaemonFacts): Finding {
  const evidence = silence === undefined ? {} : { evidence: [silence] };
  switch (unknown) {
    case "not root":
      return {
        ...{ severity: "note", text: "the daemon answers root alone", remedy: ["sudo flanneld doctor"] },
        ...evidence,
      };
    case "no answer":
      return {
        ...{ severity: "fault", text: "the daemon doesn't answer" },
        remedy: ["journalctl -u flanneld", "systemctl restart flanneld"],
        ...evidence,
      };
    default:
      return {
        ...{ severity: "note", text: "no daemon is running here", remedy: ["systemctl start flanneld"] },
        ...evidence,
      };
  }
}
