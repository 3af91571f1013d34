/**
 * One route of EC2's answers.
 *
 * @module
 */
import type { Route } from "@aws-sdk/client-ec2";
import { type Prefix, tryParsePrefix } from "../../lib/net/prefix.ts";

/** Neither the VPC's own nor one that a gateway propagates: those can't be written. */
export function isStatic(route: Route): boolean {
  return route.GatewayId !== "local" && (route.Origin === undefined || route.Origin === "CreateRoute");
}

/** Undefined for a prefix list, which has no addresses of its own. */
export function destinationOf(route: Route): Prefix | undefined {
  const text = route.DestinationCidrBlock ?? route.DestinationIpv6CidrBlock;
  return text ? tryParsePrefix(text) : undefined;
}

/** Where it leads, for people. */
export function hopOf(route: Route): string {
  const { NetworkInterfaceId, InstanceId, GatewayId, NatGatewayId, TransitGatewayId } = route;
  return NetworkInterfaceId ?? InstanceId ?? GatewayId ?? NatGatewayId ?? TransitGatewayId ?? "elsewhere";
}
