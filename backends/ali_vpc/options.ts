/**
 * Options of the ali-vpc backend.
 *
 * @module
 */
import type { JsonObject } from "../../lib/config/types.ts";
import { OptionReader } from "../../lib/backend/option_reader.ts";
import type { ParsedOptions } from "../../lib/backend/types.ts";
import { type ConfigKeys, readConfigKeys } from "../cloud/keys.ts";

/** What the config's Backend object says for ali-vpc. */
export interface AliVpcOptions {
  /** Keys from the config; absent: from the environment, else the instance's role. */
  readonly keys: ConfigKeys | undefined;
  /** Ids of the route tables to write to; empty: found by the vSwitch, else the VPC's system table. */
  readonly routeTableIds: readonly string[];
}

/** Reads `AccessKeyID` and `AccessKeySecret`, both or neither, and `RouteTableID`, a string or an array of strings. */
export function parseAliVpcOptions(options: JsonObject): ParsedOptions<AliVpcOptions> {
  const reader = new OptionReader(options);
  const keys = readConfigKeys(reader);
  const ids = reader.strings("RouteTableID", {
    help: "Route tables to write to",
    defaultText: "that of the instance's vSwitch, else the VPC's system table",
  });
  if (!ids.every((one) => /^vtb-[0-9A-Za-z-]+$/.test(one))) {
    reader.fault(
      "RouteTableID",
      "must be the id of a route table, like vtb-bp145q7glnuzdvzu2jtxy, or several",
    );
  }
  return reader.finish({
    keys,
    routeTableIds: [...new Set(ids)],
  });
}
