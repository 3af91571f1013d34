/**
 * Peers of a network with room for 262,144 subnets: 10.0.0.0/8 in /26.
 *
 * @module
 */

/** The network's config. */
export const SCALE_CONFIG = {
  Network: "10.0.0.0/8",
  SubnetLen: 26,
  SubnetMin: "10.0.0.64",
  SubnetMax: "10.0.255.192",
  Backend: { Type: "vxlan" },
} as const;

/** Behind the subnets that {@link SCALE_CONFIG} leaves to the daemons under test: 10.1.0.0. */
const FIRST = 0x0a01_0000;

function dotted(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
}

/** The subnet of peer `index` as the kernel prints it, without its length. */
export function peerBase(index: number): string {
  return dotted(FIRST + index * 64);
}

/** Its key below the subnets' prefix, as `10.1.0.64-26`. */
export function peerKey(index: number): string {
  return `${peerBase(index)}-26`;
}

/** Its value, as the original's vxlan backend writes it. */
export function peerValue(index: number): string {
  const hex = index.toString(16).padStart(8, "0").match(/../g)!.join(":");
  return `{"PublicIP":"${dotted(0x6440_0000 + index)}","PublicIPv6":null,"BackendType":"vxlan",` +
    `"BackendData":{"VNI":1,"VtepMAC":"02:00:${hex}"}}`;
}
