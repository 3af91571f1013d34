/**
 * What notifications of the kernel say about entries.
 *
 * @module
 */
import { NUD_NOARP, NUD_PERMANENT, RTN_BLACKHOLE } from "../netlink/constants.ts";
import type { ChangeNotification } from "../netlink/monitor.ts";
import { routeEntry } from "./actual_entries.ts";
import type { Entry, EntryIdentity } from "./entries.ts";

/** A change of what the reconciler keeps. */
export type EntryNotification = Extract<ChangeNotification, { kind: "route" | "neighbour" | "fdb" }>;

/** Which entry a notification is about, even where it says too little (no MAC), or more (several next hops). */
export function identityOf(change: EntryNotification, link: string): EntryIdentity {
  switch (change.kind) {
    case "route": {
      const kind = change.value.type === RTN_BLACKHOLE ? "blackhole" : "route";
      return { kind, destination: change.value.destination };
    }
    case "neighbour":
      return { kind: "neighbour", link, ip: change.value.ip };
    case "fdb":
      return { kind: "fdb", link, mac: change.value.mac };
  }
}

/** What a notification is about, as an entry; undefined for what we never make. */
export function entryOf(change: EntryNotification, link: string): Entry | undefined {
  switch (change.kind) {
    case "route":
      return routeEntry(change.value, link);
    case "neighbour": {
      const { ip, mac } = change.value;
      return mac ? { kind: "neighbour", link, ip, mac } : undefined;
    }
    case "fdb": {
      const { mac, remote } = change.value;
      return remote ? { kind: "fdb", link, mac, remote } : undefined;
    }
  }
}

/** Whether the entry stays as it is; the kernel resolves, learns and forgets others by itself. */
export function isSettled(change: EntryNotification): boolean {
  if (change.kind === "route") return true;
  const settled = change.kind === "fdb" ? NUD_PERMANENT | NUD_NOARP : NUD_PERMANENT;
  return (change.value.state & settled) !== 0;
}
