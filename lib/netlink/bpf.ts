/**
 * A classic BPF program that drops notifications in the kernel, before they wake anyone.
 *
 * @module
 */
import {
  assemble,
  attachProgram,
  type Instruction,
  JEQ_K,
  LD_B_ABS,
  LD_H_ABS,
  LD_W_ABS,
  RET_K,
} from "../ffi/bpf.ts";
import * as c from "./constants.ts";

/** Which notifications are dropped. */
export interface FilterRules {
  /**
   * Port ids of request sockets whose own changes aren't to be announced. Linux 6.18 says who caused the news of
   * routes, next hops, IPv4 addresses and neighbours that are set; those of links, IPv6 addresses and removed
   * neighbours still come, and of what a change brings along (routes to an address).
   */
  readonly ignorePortIds?: readonly number[];
  /**
   * Drops the news of new and changed forwarding entries of all bridges and VXLAN devices. The kernel doesn't
   * say who made them, so that the own can't be recognized; that of removed ones still comes.
   * @default false
   */
  readonly ignoreNewFdb?: boolean;
}

const ACCEPT = 0xffff_ffff, DROP = 0;
/** More sockets than any daemon has; keeps the program far below the 4096 instructions that are allowed. */
const MAX_PORT_IDS = 100;

/** Offsets in a message: nlmsg_type, nlmsg_pid, and the family that a neighbour message's body begins with. */
const TYPE_OFFSET = 4, PORT_ID_OFFSET = 12, FAMILY_OFFSET = 16;

/**
 * The program for `rules`, in the memory layout of struct sock_filter; undefined if nothing is to be dropped.
 * Loads are big-endian and the messages' fields little-endian, so what is compared has its bytes swapped.
 *
 * @throws {RangeError} If there are more than 100 port ids.
 */
export function filterProgram(rules: FilterRules): Uint8Array<ArrayBuffer> | undefined {
  const portIds = rules.ignorePortIds ?? [];
  if (portIds.length > MAX_PORT_IDS) {
    throw new RangeError(`At most ${MAX_PORT_IDS} port ids can be ignored: got ${portIds.length}`);
  }
  const program: Instruction[] = [];
  if (portIds.length > 0) program.push([LD_W_ABS, 0, 0, PORT_ID_OFFSET]);
  for (const id of portIds) program.push([JEQ_K, 0, 1, swap32(id)], [RET_K, 0, 0, DROP]);
  if (rules.ignoreNewFdb) {
    program.push(
      [LD_H_ABS, 0, 0, TYPE_OFFSET],
      [JEQ_K, 0, 3, swap16(c.RTM_NEWNEIGH)],
      [LD_B_ABS, 0, 0, FAMILY_OFFSET],
      [JEQ_K, 0, 1, c.AF_BRIDGE],
      [RET_K, 0, 0, DROP],
    );
  }
  return program.length === 0 ? undefined : assemble([...program, [RET_K, 0, 0, ACCEPT]]);
}

/** Makes the socket `fd` drop what `rules` say. @throws {SystemError} As setsockopt(2). */
export function attachFilter(fd: number, rules: FilterRules): void {
  const program = filterProgram(rules);
  if (program) attachProgram(fd, program);
}

function swap32(value: number): number {
  return ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}

function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}
