/**
 * A cloud's route tables as {@link RouteLoop} sees them. Each provider implements this; nothing else knows
 * which cloud it is.
 *
 * @module
 */
import type { Finding } from "../../lib/backend/finding.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import type { Prefix } from "../../lib/net/prefix.ts";
import type { CloudError } from "./errors.ts";

/** An entry of a table. Providers add what they need to change it. */
export interface CloudRoute {
  /** Which of the {@link Identity}'s tables it stands in. */
  readonly table: string;
  readonly destination: Prefix;
  /** Distinguishes it from other entries of its table. */
  readonly id: string;
  /** Where it leads, for logs. */
  readonly hop: string;
  /** It leads to this instance. */
  readonly own: boolean;
  /** It does what {@link RouteTable.put} would do: it leads to the right interface and is in force. */
  readonly upToDate: boolean;
  /** Its hop is gone: packets end here. Undefined where the table doesn't show it: {@link RouteTable.isGone}. */
  readonly blackhole: boolean | undefined;
  /** It can be removed now: it is an instance's route, and no change of it is under way. */
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
  /** Absent where the cloud doesn't say. */
  readonly limit?: number;
}

/**
 * The route tables of one host. Methods reject with CloudError, and with the signal's reason when it fires.
 * They are called one at a time.
 */
export interface RouteTable<R extends CloudRoute = CloudRoute> {
  /** The backend's type, for logs and metrics. */
  readonly cloud: string;
  /** The instance's id, from the metadata server alone: known also while the cloud's API doesn't answer. */
  instance(signal: AbortSignal): Promise<string>;
  /**
   * Asks the cloud which hop and which tables are this host's now. Changes nothing. Each pass begins with it:
   * an interface may be replaced, a subnet may move to another table.
   */
  identify(external: ExternalInterface, signal: AbortSignal): Promise<Identity>;
  /**
   * Makes the instance forward packets for others, where it doesn't and the host may change that. Follows
   * {@link identify}. Rejects while the instance drops what containers send.
   */
  prepare?(signal: AbortSignal): Promise<void>;
  /** What of the instance keeps packets from their way. Follows {@link identify}, changes nothing. */
  examine?(): readonly Finding[];
  /** The entries that may concern this host, as of now. Follows {@link identify}. */
  list(signal: AbortSignal): Promise<readonly R[]>;
  /** Makes `destination` lead here; `existing` is the entry that stands there. Resolves once it is in force. */
  put(table: string, destination: Prefix, existing: R | undefined, signal: AbortSignal): Promise<void>;
  /** Whether an entry's hop is gone, for tables that don't show it. Asked right before a removal. */
  isGone?(route: R, signal: AbortSignal): Promise<boolean>;
  /** Removes an entry; one that is gone already is no error. */
  remove(route: R, signal: AbortSignal): Promise<void>;
  /** How full the tables are, as of now. */
  limits(signal: AbortSignal): Promise<readonly TableUse[]>;
  /** The error for a full table: it names where the limit is raised. `reply` is the cloud's own text. */
  full(use: TableUse, reply: string): CloudError;
}
