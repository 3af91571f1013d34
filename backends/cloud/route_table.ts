/**
 * A cloud's route tables as the reconciling network sees them. Each provider implements this; nothing else
 * knows which cloud it is.
 *
 * @module
 */
import type { Prefix } from "../../lib/net/prefix.ts";
import type { ExternalInterface } from "../../lib/backend/types.ts";
import type { CloudError } from "./errors.ts";

/** An entry of a table. Providers add what they need to change it. */
export interface CloudRoute {
  /** Which of the {@link Identity}'s tables it stands in. */
  readonly table: string;
  readonly destination: Prefix;
  /** Tells it from other entries of its table, and where it leads: for logs. */
  readonly id: string;
  readonly hop: string;
  /** It leads to this instance. */
  readonly own: boolean;
  /** It is exactly what {@link RouteTable.put} would leave: right hop, in force. */
  readonly right: boolean;
  /** Its hop is gone: packets end here. */
  readonly blackhole: boolean;
  /** It can be removed now (no change of it is under way). */
  readonly removable: boolean;
}

/** Who this host is to the cloud, and which tables its route belongs in. */
export interface Identity {
  /** The instance's id or name. */
  readonly instance: string;
  /** What routes lead to, for people: `eni-0aaa of i-0aaa`. */
  readonly hop: string;
  /** At least one. */
  readonly tables: readonly string[];
}

/** How full a table is. */
export interface TableUse {
  readonly table: string;
  readonly used: number;
  /** Absent where the cloud doesn't tell. */
  readonly limit?: number;
}

/**
 * The route tables of one host. Methods reject with CloudError, and with the signal's reason when it fires.
 * They are called one at a time.
 */
export interface RouteTable<R extends CloudRoute = CloudRoute> {
  /** The backend's type, for logs and metrics. */
  readonly cloud: string;
  /** Asks the cloud who we are and checks that routes to us can work. Changes nothing. */
  identify(external: ExternalInterface, signal: AbortSignal): Promise<Identity>;
  /** Makes the instance accept packets for others, where that is the host's to do. Changes nothing if it does. */
  prepare?(signal: AbortSignal): Promise<void>;
  /** The entries that may concern us. Needs {@link identify} before. */
  list(signal: AbortSignal): Promise<readonly R[]>;
  /** Makes `destination` lead here; `existing` is the entry that stands there. Resolves once it is in force. */
  put(table: string, destination: Prefix, existing: R | undefined, signal: AbortSignal): Promise<void>;
  /** Removes an entry; one that is gone already is no error. */
  remove(route: R, signal: AbortSignal): Promise<void>;
  /** How full the tables are, as of now. */
  limits(signal: AbortSignal): Promise<readonly TableUse[]>;
  /** The error for a table that is full: says where its limit is raised. `said` is the cloud's own word. */
  full(use: TableUse, said: string): CloudError;
}
