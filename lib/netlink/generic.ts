/**
 * Generic netlink (linux/genetlink.h): families of messages that have a name, whose number the kernel gives out.
 *
 * @module
 */
import { ENOENT } from "../ffi/errno.ts";
import * as c from "./constants.ts";
import { NetlinkError } from "./error.ts";
import { type AttributeReader, attributesAfter, type Message } from "./reader.ts";
import { type NetlinkRequest, NetlinkSocket } from "./socket.ts";
import type { MessageWriter } from "./writer.ts";

/** struct genlmsghdr { u8 cmd; u8 version; u16 reserved; } */
const GENLMSGHDR_BYTES = 4;

/** The family that knows the others: its number is fixed. */
const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1, CTRL_ATTR_FAMILY_NAME = 2;

/** Opens a socket for generic netlink. @throws {SystemError} As socket(2) and bind(2). */
export function openGenericSocket(): NetlinkSocket {
  return NetlinkSocket.open({ protocol: c.NETLINK_GENERIC });
}

/**
 * The number of a family. Asking loads the family's module where there is one.
 *
 * @returns Undefined where this kernel doesn't have it.
 * @throws {NetlinkError} For any other refusal.
 */
export function findGenericFamily(socket: NetlinkSocket, name: string): number | undefined {
  const request = genericRequest({
    describe: () => `find the generic netlink family ${name}`,
    ...{ family: GENL_ID_CTRL, command: CTRL_CMD_GETFAMILY, version: 1, flags: 0 },
    encode: (writer) => writer.attributeString(CTRL_ATTR_FAMILY_NAME, name),
  });
  try {
    return socket.query(request, (message) => {
      const attributes = genericAttributes(message);
      while (attributes.next()) if (attributes.type === CTRL_ATTR_FAMILY_ID) return attributes.u16();
      return undefined;
    });
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === ENOENT) return undefined;
    throw error;
  }
}

/** A request of a family. */
export interface GenericRequest {
  /** What is being done, in the words of an error. */
  describe(): string;
  /** The family's number. */
  readonly family: number;
  readonly command: number;
  /** Version of the family's interface. */
  readonly version: number;
  /** NLM_F_ flags beyond those that the socket sets. */
  readonly flags: number;
  /** Writes the attributes. */
  encode(writer: MessageWriter): void;
}

/** The request as a netlink message. */
export function genericRequest(
  { describe, family, command, version, flags, encode }: GenericRequest,
): NetlinkRequest {
  return {
    describe,
    type: family,
    flags,
    encode(writer) {
      writer.u8(command);
      writer.u8(version);
      writer.u16(0);
      encode(writer);
    },
  };
}

/** The attributes of an answer. @throws {MalformedMessageError} If it is too short. */
export function genericAttributes(message: Message): AttributeReader {
  return attributesAfter(message, GENLMSGHDR_BYTES);
}
