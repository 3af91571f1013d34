/**
 * The kernel's refusals, and reading them out of acknowledgements.
 *
 * @module
 */
import { SystemError } from "../ffi/errno.ts";
import { NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS } from "./constants.ts";
import { AttributeReader, fixedPart, type Message } from "./reader.ts";
import { HEADER_BYTES } from "./writer.ts";

/** A netlink request that failed. */
export class NetlinkError extends SystemError {
  override readonly name = "NetlinkError";
  /** What the kernel says of it beyond the number (extended acknowledgement), if it says something. */
  readonly kernelMessage?: string;
  /** Where in the request the attribute lies that the kernel objects to, in bytes from its header. */
  readonly offset?: number;

  constructor(operation: string, reason: AckError, options?: ErrorOptions) {
    super(operation, reason.errno, { ...options, ...(reason.text !== undefined && { text: reason.text }) });
    if (reason.text !== undefined) this.kernelMessage = reason.text;
    if (reason.offset !== undefined) this.offset = reason.offset;
  }
}

/** What a negative acknowledgement says. */
export interface AckError {
  readonly errno: number;
  readonly text?: string;
  readonly offset?: number;
}

/**
 * Reads an NLMSG_ERROR message (struct nlmsgerr: i32 error, the request's header, perhaps the rest of the
 * request, then attributes) or the end of a dump (NLMSG_DONE: i32 error, attributes).
 *
 * @returns Undefined for the acknowledgement of a success.
 * @throws {MalformedMessageError} If it is too short.
 */
export function readAck(message: Message, isDone = false): AckError | undefined {
  // Some kernel versions end a dump without the number.
  if (isDone && message.end - message.start < 4) return undefined;
  const at = fixedPart(message, isDone ? 4 : 4 + HEADER_BYTES);
  const error = message.view.getInt32(at, true);
  if (error >= 0) return undefined;
  if (!(message.flags & NLM_F_ACK_TLVS)) return { errno: -error };
  let attributes = at + 4;
  if (!isDone) {
    const echoed = message.flags & NLM_F_CAPPED ? HEADER_BYTES : message.view.getUint32(at + 4, true);
    attributes += Math.ceil(echoed / 4) * 4;
  }
  return { errno: -error, ...readExtendedAck(new AttributeReader(message.view, attributes, message.end)) };
}

function readExtendedAck(attributes: AttributeReader): { text?: string; offset?: number } {
  const result: { text?: string; offset?: number } = {};
  while (attributes.next()) {
    if (attributes.type === NLMSGERR_ATTR_MSG) result.text = attributes.string();
    else if (attributes.type === NLMSGERR_ATTR_OFFS) result.offset = attributes.u32();
  }
  return result;
}
