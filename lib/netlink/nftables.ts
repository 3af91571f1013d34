/**
 * What the kernel's nftables says without a program being run: its generation, tables, counters, and what is
 * removed. Numbers are those of linux/netfilter/nfnetlink.h and nf_tables.h.
 *
 * @module
 */
import { ENOENT } from "../ffi/errno.ts";
import { NetlinkError } from "./error.ts";
import { NetlinkListener } from "./listener.ts";
import { type AttributeReader, attributesAfter, type Message } from "./reader.ts";
import { type NetlinkRequest, NetlinkSocket } from "./socket.ts";
import type { MessageWriter } from "./writer.ts";

const NETLINK_NETFILTER = 12;
const NFNLGRP_NFTABLES = 7;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETTABLE = 1, NFT_MSG_GETGEN = 16, NFT_MSG_GETOBJ = 19;
const NFTA_GEN_ID = 1;
const NFTA_TABLE_NAME = 1;
const NFTA_OBJ_TABLE = 1, NFTA_OBJ_NAME = 2, NFTA_OBJ_TYPE = 3, NFTA_OBJ_DATA = 4;
const NFT_OBJECT_COUNTER = 1;
const NFTA_COUNTER_PACKETS = 2;
/** struct nfgenmsg { u8 family; u8 version; be16 res_id; } */
const NFGENMSG_BYTES = 4;

/** Families of tables. */
const NFPROTO = { inet: 1, ip: 2, ip6: 10 } as const;
const FAMILY_NAMES = new Map<number, NftFamily>(
  Object.entries(NFPROTO).map(([name, number]) => [number, name as NftFamily]),
);

/** A family of tables, as nft names it. */
export type NftFamily = keyof typeof NFPROTO;

/** Asks the nftables of the process's network namespace. */
export class NftablesSocket implements Disposable {
  readonly #socket: NetlinkSocket;

  /** @throws {SystemError} If the kernel has no nfnetlink. */
  constructor() {
    this.#socket = NetlinkSocket.open({ protocol: NETLINK_NETFILTER });
  }

  /** A number that is another after every change of nftables in this namespace. @throws {NetlinkError} */
  generation(): number | undefined {
    return this.#ask("read the generation of nftables", NFT_MSG_GETGEN, 0, () => {}, (attributes) =>
      // Netfilter's numbers are in network order.
      attributes.type === NFTA_GEN_ID ? viewOf(attributes).getUint32(0) : undefined);
  }

  /** Whether there is such a table. @throws {NetlinkError} If the kernel has no nftables. */
  hasTable(family: NftFamily, table: string): boolean {
    const found = this.#ask(
      `look for table ${family} ${table}`,
      NFT_MSG_GETTABLE,
      NFPROTO[family],
      (writer) => writer.attributeString(NFTA_TABLE_NAME, table),
      (attributes) => attributes.type === NFTA_TABLE_NAME || undefined,
    );
    return found === true;
  }

  /** How many packets a named counter has counted; undefined if there is no such counter. @throws {NetlinkError} */
  counterPackets(family: NftFamily, table: string, counter: string): bigint | undefined {
    return this.#ask(
      `read counter ${counter} of table ${family} ${table}`,
      NFT_MSG_GETOBJ,
      NFPROTO[family],
      (writer) => {
        writer.attributeString(NFTA_OBJ_TABLE, table);
        writer.attributeString(NFTA_OBJ_NAME, counter);
        writer.attributeBytes(NFTA_OBJ_TYPE, new Uint8Array([0, 0, 0, NFT_OBJECT_COUNTER]));
      },
      (attributes) => attributes.type === NFTA_OBJ_DATA ? packetsOf(attributes.nested()) : undefined,
    );
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  /** The first value that `read` makes of an attribute of the answer; undefined if what is asked for isn't there. */
  #ask<T>(
    what: string,
    type: number,
    family: number,
    write: (writer: MessageWriter) => void,
    read: (attributes: AttributeReader) => T | undefined,
  ): T | undefined {
    const request: NetlinkRequest = {
      describe: () => what,
      type: (NFNL_SUBSYS_NFTABLES << 8) | type,
      flags: 0,
      encode: (writer) => {
        writer.u32(family);
        write(writer);
      },
    };
    try {
      return this.#socket.query(
        request,
        (message) => firstOf(attributesAfter(message, NFGENMSG_BYTES), read),
      );
    } catch (error) {
      if (error instanceof NetlinkError && error.errno === ENOENT) return undefined;
      throw error;
    }
  }
}

function firstOf<T>(attributes: AttributeReader, read: (attributes: AttributeReader) => T | undefined) {
  while (attributes.next()) {
    const value = read(attributes);
    if (value !== undefined) return value;
  }
  return undefined;
}

function packetsOf(counter: AttributeReader): bigint | undefined {
  return firstOf(
    counter,
    (attributes) => attributes.type === NFTA_COUNTER_PACKETS ? viewOf(attributes).getBigUint64(0) : undefined,
  );
}

function viewOf(attributes: AttributeReader): DataView<ArrayBuffer> {
  return new DataView(attributes.bytes().buffer);
}

/** A table, chain, rule or set was removed. */
export interface NftablesRemoval {
  readonly family: NftFamily | undefined;
  readonly table: string;
  /** The chain, for chains and rules. */
  readonly chain?: string;
}

/** What is removed; or `overrun`: some of it isn't known. */
export type NftablesNotification = NftablesRemoval | "overrun";

// The messages of removals, and where they name the chain. The table is the first attribute of all of them.
const NFT_MSG_DELTABLE = 2, NFT_MSG_DELCHAIN = 5, NFT_MSG_DELRULE = 8, NFT_MSG_DELSET = 11;
const REMOVALS = new Map([
  [NFT_MSG_DELTABLE, { chain: undefined }],
  [NFT_MSG_DELCHAIN, { chain: 3 }],
  [NFT_MSG_DELRULE, { chain: 2 }],
  [NFT_MSG_DELSET, { chain: undefined }],
]);
const TABLE = 1;

/**
 * Listens to removals of tables, chains, rules and sets by whomever in the process's network namespace: those of
 * elements, and all that is added, are left out.
 *
 * @throws {SystemError} If the kernel has no nftables, or without CAP_NET_ADMIN.
 */
export function listenToRemovals(signal: AbortSignal): NetlinkListener<NftablesNotification> {
  return NetlinkListener.open<NftablesNotification>({
    protocol: NETLINK_NETFILTER,
    groups: [NFNLGRP_NFTABLES],
    decode: decodeRemoval,
    overrun: "overrun",
    signal,
  });
}

/** What a message says was removed; undefined for all others. @throws {MalformedMessageError} */
export function decodeRemoval(message: Message): NftablesRemoval | undefined {
  if (message.type >> 8 !== NFNL_SUBSYS_NFTABLES) return undefined;
  const kind = REMOVALS.get(message.type & 0xff);
  if (!kind) return undefined;
  const attributes = attributesAfter(message, NFGENMSG_BYTES);
  const family = FAMILY_NAMES.get(message.view.getUint8(message.start));
  let table = "", chain: string | undefined;
  while (attributes.next()) {
    if (attributes.type === TABLE) table = attributes.string();
    else if (attributes.type === kind.chain) chain = attributes.string();
  }
  return { family, table, ...(chain === undefined ? {} : { chain }) };
}
