/**
 * Options of the ali-vpc backend.
 *
 * @module
 */
import type { JsonObject } from "../../lib/config/types.ts";
import { OptionReader } from "../../lib/backend/option_reader.ts";
import type { ParsedOptions } from "../../lib/backend/types.ts";

/** What the config's Backend object says for ali-vpc. */
export interface AliVpcOptions {
  /** Keys from the config; absent: from the environment, else the instance's role. */
  readonly keys: { readonly id: string; readonly secret: string } | undefined;
  /** Ids of the route tables to write to; empty: found by the vSwitch, else the VPC's system table. */
  readonly routeTableIds: readonly string[];
}

/** Reads `AccessKeyID` and `AccessKeySecret`, both or neither, and `RouteTableID`, a string or an array of strings. */
export function parseAliVpcOptions(options: JsonObject): ParsedOptions<AliVpcOptions> {
  const reader = new OptionReader(options);
  const id = reader.string("AccessKeyID", {});
  const secret = reader.string("AccessKeySecret", { secret: true });
  if (id !== undefined && secret === undefined && reader.faults.length === 0) {
    reader.fault("AccessKeySecret", "must be set where AccessKeyID is", true);
  }
  if (secret !== undefined && id === undefined && reader.faults.length === 0) {
    reader.fault("AccessKeyID", "must be set where AccessKeySecret is");
  }
  const ids = reader.strings("RouteTableID");
  if (!ids.every((one) => /^vtb-[0-9A-Za-z-]+$/.test(one))) {
    reader.fault(
      "RouteTableID",
      "must be the id of a route table, like vtb-bp145q7glnuzdvzu2jtxy, or several",
    );
  }
  return reader.finish({
    keys: id !== undefined && secret !== undefined ? { id, secret } : undefined,
    routeTableIds: [...new Set(ids)],
  });
}
