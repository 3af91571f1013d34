/**
 * What the command line says to the udp backend.
 *
 * @module
 */
import { integer } from "../../../lib/options/spec.ts";

/** The port that this host listens on; 0: the network config's. */
export const UDP_PORT = integer(
  "Backends",
  "Port of this host's udp backend; 0: the network config's (hosts behind one NAT address need one each)",
  "PORT",
  0,
  [0, 65535],
);

/** For the registry. */
export const UDP_OPTIONS = { "udp-port": UDP_PORT };
