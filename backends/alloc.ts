/**
 * The alloc backend: leases a subnet and carries nothing.
 *
 * @module
 */
import { carried, PATHS } from "../lib/backend/peer_plan.ts";
import { OptionReader } from "../lib/backend/option_reader.ts";
import type { BackendType } from "../lib/backend/types.ts";

/** The Backend object of an alloc network. */
export interface AllocOptions {
  /** MTU for containers; undefined: the external interface's. */
  readonly mtu: number | undefined;
}

/** The alloc backend for the registry. */
export const alloc: BackendType<AllocOptions> = {
  type: "alloc",
  parse(options) {
    const reader = new OptionReader(options);
    const mtu = reader.integer("MTU", {
      ...{ min: 68, max: 65535, zeroIsUnset: true, help: "MTU for containers" },
      defaultText: "the external interface's",
    });
    return reader.finish({ mtu });
  },
  open(options) {
    return Promise.resolve({
      carrier: "kernel",
      attributes: { backendData: {} },
      plan: ({ external }) => ({
        mtu: options.mtu ?? external.mtu,
        links: [],
        entries: [],
        forPeer: () => carried(PATHS.none),
      }),
    });
  },
};
