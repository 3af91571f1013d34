/**
 * What both directions of the forwarder work with.
 *
 * @module
 */
import type { IcmpErrors } from "./icmp_errors.ts";
import type { RoutesReader } from "./routes_reader.ts";
import type { Sender } from "./sender.ts";
import type { TunWriter } from "./tun_writer.ts";
import type { WorkerContext } from "./worker_context.ts";

/** A worker's memory and kernel, and the parts that both directions share. */
export interface ForwardContext extends WorkerContext {
  readonly routes: RoutesReader;
  readonly sender: Sender;
  readonly writer: TunWriter;
  readonly icmp: IcmpErrors;
}
