/**
 * The smallest backend that does something: a route a peer, by a device that is there already. A new backend takes a
 * file like this one and a line in the registry.
 *
 * @module
 */
import { OptionReader } from "../../lib/backend/option_reader.ts";
import { namedType, type PeerPlan, unreachable } from "../../lib/backend/peer_plan.ts";
import type { BackendType } from "../../lib/backend/types.ts";
import type { Lease } from "../../lib/leases/types.ts";
import { FAMILIES } from "../../lib/net/family.ts";
import { integer } from "../../lib/options/spec.ts";

/** The Backend object of a toy network. */
export interface ToyOptions {
  /** The device that carries the packets. */
  readonly device: string;
  /** MTU for containers; undefined: the external interface's. */
  readonly mtu: number | undefined;
}

/** An option of the daemon that no other backend knows. */
const TOY_SPEED = integer("Backends", "Speed of this host's toy, in boxes an hour", "SPEED", 3, [1, 100]);

/** For the registry: the options of the daemon that this backend declares. */
export const TOY_OPTIONS = { "toy-speed": TOY_SPEED };

/** The toy backend for the registry. */
export const toy: BackendType<ToyOptions> = {
  type: "toy",
  parse(options) {
    const reader = new OptionReader(options);
    return reader.finish({
      device: reader.string("Device", {}, "toy0"),
      mtu: reader.integer("MTU", { min: 68, max: 65535, zeroIsUnset: true }),
    });
  },
  open({ device, mtu }, context) {
    const speed = context.options.get(TOY_SPEED);
    return Promise.resolve({
      carrier: "kernel",
      attributes: { backendType: "toy", backendData: { ipv4: { Speed: speed } } },
      plan: ({ external }) => ({
        mtu: mtu ?? external.mtu,
        links: [],
        entries: [],
        forPeer: (peer) => planPeer(peer, device),
      }),
    });
  },
};

function planPeer(peer: Lease, device: string): PeerPlan {
  if (peer.attributes.backendType !== "toy") return unreachable(`its lease has ${namedType(peer)}, not toy`);
  const destinations = FAMILIES.flatMap(({ name }) => peer.subnets[name] ?? []);
  return {
    entries: destinations.map((destination) => ({ kind: "route", link: device, destination, onlink: false })),
    paths: ["toy"],
  };
}
