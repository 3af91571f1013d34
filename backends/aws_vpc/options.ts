/**
 * Options of the aws-vpc backend.
 *
 * @module
 */
import type { JsonObject } from "../../lib/config/types.ts";
import { OptionReader } from "../../lib/backend/option_reader.ts";
import type { ParsedOptions } from "../../lib/backend/types.ts";

/** What the config's Backend object says for aws-vpc. */
export interface AwsVpcOptions {
  /** Ids of the route tables to write to; empty: found by the subnet, else the VPC's main table. */
  readonly routeTableIds: readonly string[];
}

/** Reads `RouteTableID`: a string or an array of strings. */
export function parseAwsVpcOptions(options: JsonObject): ParsedOptions<AwsVpcOptions> {
  const reader = new OptionReader(options);
  const ids = reader.strings("RouteTableID", {
    help: "Route tables to write to",
    defaultText: "that of the instance's subnet, else the VPC's main one",
  });
  if (!ids.every((id) => /^rtb-[0-9A-Za-z-]+$/.test(id))) {
    reader.fault("RouteTableID", "must be the id of a route table, like rtb-0123456789abcdef0, or several");
  }
  return reader.finish({ routeTableIds: [...new Set(ids)] });
}
