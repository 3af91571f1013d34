/**
 * The messages to and from a forwarder worker.
 *
 * @module
 */
import type { SourceCheck } from "./source_check.ts";
import type { PerFamily } from "../../../lib/net/family.ts";
import type { RoutesShape } from "./routes_layout.ts";

/** The order to forward until further notice. */
export interface WorkerSetup {
  /** Number of the worker: which counters and which epoch are its own. */
  readonly worker: number;
  /** Descriptors of the process: the TUN queue, a UDP socket a family, an eventfd that ends the wait for packets. */
  readonly tun: number;
  readonly sockets: PerFamily<number>;
  readonly wake: number;
  /** Which directions this worker carries. */
  readonly outbound: boolean;
  readonly inbound: boolean;
  readonly sourceCheck: SourceCheck;
  /** Shared: one word, not 0 once the worker is to stop. */
  readonly stop: SharedArrayBuffer;
  readonly routes: SharedArrayBuffer;
  readonly shape: RoutesShape;
  readonly counters: SharedArrayBuffer;
  readonly offloads: SharedArrayBuffer;
}

/** Why a worker stopped: it was asked to; the TUN is gone; or it failed, which is a defect. */
export type WorkerEnd =
  | { readonly kind: "stopped" }
  | { readonly kind: "tun"; readonly errno: number }
  | { readonly kind: "failed"; readonly message: string };

/** What a worker sends: that it forwards from now on, then that it has ended. */
export type WorkerMessage = { readonly kind: "running" } | WorkerEnd;
