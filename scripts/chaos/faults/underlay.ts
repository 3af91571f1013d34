/**
 * Faults of the wire and of the external interface.
 *
 * @module
 */
import type { Fault } from "../fault.ts";
import type { RandomSource } from "../../lab/random.ts";

/** A MAC that nobody else has: locally administered, by chance. */
function randomMac(random: RandomSource): string {
  const bytes = Array.from({ length: 5 }, () => random.below(256).toString(16).padStart(2, "0"));
  return ["02", ...bytes].join(":");
}

export const UNDERLAY_FAULTS: readonly Fault[] = [
  {
    name: "wire down",
    claims: "underlay",
    lasts: [300, 6000],
    begin: ({ network, host }) => network.lab.switch.ip(`link set ${host.port} down`),
    end: ({ network, host }) => network.lab.switch.ip(`link set ${host.port} up`),
  },
  {
    name: "25 % loss",
    claims: "underlay",
    lasts: [2000, 8000],
    begin: ({ network, host }) =>
      network.applyOnSwitch(`table bridge loss-${host.label} {
        chain forward {
          type filter hook forward priority 0;
          iifname ${host.port} numgen random mod 4 0 drop
          oifname ${host.port} numgen random mod 4 0 drop
        }
      }`),
    end: ({ network, host }) => network.deleteOnSwitch(`loss-${host.label}`),
  },
  {
    name: "external interface down and up",
    claims: "underlay",
    lasts: [100, 4000],
    begin: ({ host }) => host.host.ip("link set eth0 down"),
    end: ({ host }) => host.configureUnderlay(),
  },
  {
    name: "external interface replaced",
    claims: "underlay",
    lasts: [0, 2000],
    begin: ({ host, random }) => host.replaceUnderlay(randomMac(random)),
    end: ({ host }) => host.configureUnderlay(),
  },
  {
    name: "external interface readdressed",
    claims: "underlay",
    lasts: [0, 1000],
    begin: ({ host }) => host.readdress(),
    end: ({ host }) => host.configureUnderlay(),
  },
];
