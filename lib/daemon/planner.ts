/**
 * The backend's plan for this host, computed again whenever the external interface or the way to a peer changes.
 *
 * @module
 */
import type { Backend, HostPlan, OwnSubnets } from "../backend/types.ts";
import type { ExternalFollower } from "../external/follow.ts";
import type { ExternalInterface } from "../external/types.ts";
import type { Entry } from "../kernel/entries.ts";
import type { KeptPlan } from "../kernel/host_keeper.ts";
import { familiesOf } from "../net/family.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Options } from "../options/table.ts";
import { followExternal, type InterfaceOptions, KernelEnvironment, linkReader } from "./external.ts";

/** What a planner works with. */
export interface PlannerParts {
  readonly socket: NetlinkSocket;
  readonly backend: Backend;
  readonly lease: OwnSubnets;
  /** The interface as it was chosen. */
  readonly external: ExternalInterface;
  readonly options: InterfaceOptions;
}

/** What a look at the host found. */
export interface Refreshed {
  /** What the plan was before, and what it was made with; absent: it is still the same. */
  readonly before?: { readonly plan: HostPlan; readonly external: ExternalInterface };
  /** Look again after this long though nothing happens, in milliseconds. */
  readonly again?: number;
}

/** See the module's text. */
export class Planner {
  readonly #parts: PlannerParts;
  readonly #follower: ExternalFollower;
  #environment: KernelEnvironment;
  #plan: HostPlan;

  constructor(parts: PlannerParts) {
    this.#parts = parts;
    this.#follower = followExternal(parts.external, parts.options);
    this.#environment = new KernelEnvironment(parts.socket, parts.external);
    this.#plan = parts.backend.plan(this.#environment, parts.lease);
  }

  /** The plan as of the last look at the host. */
  get plan(): HostPlan {
    return this.#plan;
  }

  /** The interface to the other hosts that the plan was made with. */
  get external(): ExternalInterface {
    return this.#environment.external;
  }

  /** Looks at the host again, and makes another plan if that depends on what changed. */
  refresh(): Refreshed {
    const { socket, backend, lease } = this.#parts;
    const { external, again } = this.#follower.refresh(linkReader(socket), performance.now());
    const later = again === undefined ? {} : { again };
    if (external === this.external && this.#environment.isCurrent()) return later;
    const before = { plan: this.#plan, external: this.external };
    this.#environment = new KernelEnvironment(socket, external);
    this.#plan = backend.plan(this.#environment, lease);
    return { before, ...later };
  }
}

/** What of a plan the kernel is to hold, with what the options add. */
export function keptPlan(
  plan: HostPlan,
  { subnets }: OwnSubnets,
  { ipBlackholeRoute }: Pick<Options, "ipBlackholeRoute">,
): KeptPlan {
  const own = ipBlackholeRoute ? familiesOf(subnets).map((family) => subnets[family.name]!) : [];
  const blackholes = own.map((destination): Entry => ({ kind: "blackhole", destination }));
  return { links: plan.links, entries: [...plan.entries, ...blackholes] };
}
