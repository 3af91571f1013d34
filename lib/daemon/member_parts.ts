/**
 * What a member of the network is made of.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import type { Backend } from "../backend/types.ts";
import type { ExternalInterface } from "../external/types.ts";
import type { Membership, SubnetManager } from "../leases/contract.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Prefix } from "../net/prefix.ts";
import type { PartLog } from "../observe/log.ts";
import type { Metrics, ProblemReporter } from "../observe/types.ts";
import type { Options } from "../options/table.ts";
import type { StoredNetwork } from "./config_feed.ts";
import type { TaskGroup } from "./task_group.ts";

/** What a member is made of. */
export interface MemberParts {
  readonly backends: BackendRegistry;
  readonly options: Options;
  readonly network: StoredNetwork;
  readonly backend: Backend;
  readonly manager: SubnetManager;
  readonly membership: Membership;
  readonly external: ExternalInterface;
  /** Where an earlier run had its routes, by its subnet file. */
  readonly formerNetworks: readonly Prefix[];
  readonly socket: NetlinkSocket;
  readonly tasks: TaskGroup;
  readonly log: PartLog;
  readonly metrics: Metrics;
  readonly problems: ProblemReporter;
}
