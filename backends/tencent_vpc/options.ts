/**
 * Options of the tencent-vpc backend.
 *
 * @module
 */
import { OptionReader } from "../../lib/backend/option_reader.ts";
import type { ParsedOptions } from "../../lib/backend/types.ts";
import { type ConfigKeys, readConfigKeys } from "../cloud/keys.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import type { Family } from "../../lib/net/family.ts";

/** What the config's Backend object says for tencent-vpc. */
export interface TencentVpcOptions {
  /** Keys from the config; absent: from the environment, else the instance's role. */
  readonly keys: ConfigKeys | undefined;
  /** Ids of the route tables to write to; empty: that of the instance's subnet. */
  readonly routeTableIds: readonly string[];
}

/** Reads `AccessKeyID` and `AccessKeySecret`, both or neither, and `RouteTableID`, a string or an array of strings. */
export function parseTencentVpcOptions(
  options: JsonObject,
  enabled: readonly Family[],
): ParsedOptions<TencentVpcOptions> {
  const reader = new OptionReader(options);
  const keys = readConfigKeys(reader);
  const ids = reader.strings("RouteTableID", {
    help: "Route tables to write to",
    defaultText: "that of the instance's subnet",
  });
  if (!ids.every((one) => /^rtb-[0-9A-Za-z]+$/.test(one))) {
    reader.fault("RouteTableID", "must be the id of a route table, like rtb-azd4dt1c, or several");
  }
  if (enabled.some((family) => family.name !== "ipv4")) {
    reader.faults.push({
      key: "EnableIPv6",
      message:
        "EnableIPv6 true: must be false with Backend.Type tencent-vpc, whose routes to instances are IPv4",
    });
  }
  return reader.finish({
    keys,
    routeTableIds: [...new Set(ids)],
  });
}
