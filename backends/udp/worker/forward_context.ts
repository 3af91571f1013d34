/**
 * What both directions of the forwarder work with.
 *
 * @module
 */
import type { IpAddresses } from "../../../lib/packet/headers.ts";
import type { FamilyRoutes } from "./family_routes.ts";
import type { IcmpErrors } from "./icmp_errors.ts";
import type { Sender } from "./sender.ts";
import type { TunWriter } from "./tun_writer.ts";
import type { WorkerContext } from "./worker_context.ts";

/** The way of one address family's packets: inside and outside are of the same one. */
export interface FamilyPath {
  readonly version: 4 | 6;
  /** Where the addresses are in the family's header. */
  readonly addresses: IpAddresses;
  readonly routes: FamilyRoutes;
  readonly sender: Sender;
}

/** A worker's memory, and the parts that both directions share. */
export interface ForwardContext extends WorkerContext {
  /** By IP version; absent: the network hasn't that family. */
  readonly paths: readonly (FamilyPath | undefined)[];
  readonly writer: TunWriter;
  readonly icmp: IcmpErrors;
}
