/**
 * Peers that exist only as leases in etcd: what a host finds when it joins a large network.
 *
 * @module
 */

/** A network with room for 65,535 subnets of /24. */
export const BENCH_CONFIG = { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } };

/** The first peers' subnets begin here, so that 10.0.0.0/16 stays free for the hosts under test. */
const OFFSET = 256;

/** The two low bytes of number `index`. */
function lowBytes(index: number): [number, number] {
  return [(index >> 8) & 255, index & 255];
}

/** The key of peer `index` below the subnets' prefix, as `10.1.0.0-24`. */
export function peerKey(index: number): string {
  return `10.${lowBytes(index + OFFSET).join(".")}.0-24`;
}

/** Its value, as the original's vxlan backend writes it. */
export function peerValue(index: number): string {
  const [high, low] = lowBytes(index);
  const mac = `02:00:00:00:${high.toString(16).padStart(2, "0")}:${low.toString(16).padStart(2, "0")}`;
  return `{"PublicIP":"100.64.${high}.${low}","PublicIPv6":null,"BackendType":"vxlan",` +
    `"BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;
}

/** The value of a wireguard peer. Its key is nobody's: any 32 bytes are a public key. */
export function wireguardPeerValue(index: number): string {
  const [high, low] = lowBytes(index);
  const PublicKey = btoa(String.fromCharCode(high, low, ...Array.from({ length: 30 }, () => 7)));
  return `{"PublicIP":"100.64.${high}.${low}","PublicIPv6":null,"BackendType":"wireguard",` +
    `"BackendData":{"PublicKey":"${PublicKey}","Port":51820}}`;
}
