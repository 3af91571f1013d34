/**
 * Cheap questions whose answers say whether a firewall may have changed since it was last read.
 *
 * @module
 */
import { LegacyTables } from "./legacy_tables.ts";
import { attributesAfter } from "../netlink/reader.ts";
import { type NetlinkRequest, NetlinkSocket } from "../netlink/socket.ts";

/** What of the host tells of changes without a program being run. */
export interface HostProbe extends Disposable {
  /**
   * A number that is another after every change of nftables (of iptables-nft too) in this network namespace;
   * undefined where the kernel doesn't tell.
   */
  generation(): number | undefined;
  /** The same for the nat and filter tables of legacy iptables. */
  legacyStamp(): number | undefined;
}

/** Knows nothing: everything is read in every pass. For rules that are in another network namespace. */
export const blindProbe: HostProbe = {
  generation: () => undefined,
  legacyStamp: () => undefined,
  [Symbol.dispose]() {},
};

/** linux/netlink.h */
const NETLINK_NETFILTER = 12;
/** linux/netfilter/nfnetlink.h and nf_tables.h */
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETGEN = 16;
const NFTA_GEN_ID = 1;
/** struct nfgenmsg { u8 family; u8 version; be16 res_id; } */
const NFGENMSG_BYTES = 4;

const GET_GENERATION: NetlinkRequest = {
  describe: () => "read the generation of nftables",
  type: (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN,
  flags: 0,
  encode: (writer) => writer.u32(0),
};

/** A probe of this process's network namespace. */
export function systemProbe(): HostProbe {
  const socket = openSocket();
  const legacy = new LegacyTables();
  return {
    generation: () => socket && readGeneration(socket),
    legacyStamp: () => legacy.stamp(),
    [Symbol.dispose]() {
      socket?.[Symbol.dispose]();
      legacy[Symbol.dispose]();
    },
  };
}

function openSocket(): NetlinkSocket | undefined {
  try {
    return NetlinkSocket.open({ protocol: NETLINK_NETFILTER });
  } catch {
    return undefined; // a kernel without nfnetlink
  }
}

function readGeneration(socket: NetlinkSocket): number | undefined {
  try {
    return socket.query(GET_GENERATION, (message) => {
      const attributes = attributesAfter(message, NFGENMSG_BYTES);
      while (attributes.next()) {
        // Netfilter's numbers are in network order.
        if (attributes.type === NFTA_GEN_ID) return new DataView(attributes.bytes().buffer).getUint32(0);
      }
      return undefined;
    });
  } catch {
    return undefined; // a kernel without nf_tables
  }
}
