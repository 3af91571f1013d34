/**
 * A cluster's Nodes as an operator's list of leases.
 *
 * @module
 */
import type { NodeRecord } from "../../kube/nodes.ts";
import { familiesOf, type Family } from "../../net/family.ts";
import type { LeaseView } from "../inspect.ts";
import { leaseOfNode, subnetsOfNode } from "./node_lease.ts";

/** The Nodes that have a podCIDR, with those of other network plugins: their subnets aren't free either. */
export function inspectNodes(
  nodes: readonly NodeRecord[],
  annotationPrefix: string,
  families: readonly Family[],
): LeaseView[] {
  return nodes.flatMap((node) => {
    const { lease, fault } = leaseOfNode(node, annotationPrefix, families);
    const assigned = subnetsOfNode(node);
    const subnets = lease?.subnets ?? (typeof assigned === "string" ? undefined : assigned);
    if (!subnets || familiesOf(subnets).length === 0) return [];
    const created = Date.parse(node.created);
    return {
      ...{ key: node.name, host: node.name, subnets, expires: false, assigned: true },
      ...lease ? { attributes: lease.attributes } : {},
      ...fault === undefined ? {} : { fault },
      ...Number.isFinite(created) ? { createdAt: created } : {},
    };
  });
}
