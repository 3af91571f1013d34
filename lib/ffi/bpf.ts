/**
 * Classic BPF programs on sockets: the kernel drops what they refuse before it wakes anyone (linux/filter.h).
 *
 * @module
 */
import { setSocketOption } from "./fd.ts";
import { addressOf } from "./libc.ts";

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
/** What the kernel takes (BPF_MAXINSNS). */
const MAX_INSTRUCTIONS = 4096;

/** An instruction: code, distance of the jump if true and if false, operand. */
export type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, operand: number];

/** Codes (linux/bpf_common.h): loads of 4, 2 and 1 bytes in network byte order, tests against a constant, the end. */
export const LD_W_ABS = 0x20, LD_H_ABS = 0x28, LD_B_ABS = 0x30, AND_K = 0x54;
export const JEQ_K = 0x15, JSET_K = 0x45, RET_K = 0x06;

/** The program in the memory layout of struct sock_filter { u16 code; u8 jt; u8 jf; u32 k; }. */
export function assemble(program: readonly Instruction[]): Uint8Array<ArrayBuffer> {
  if (program.length > MAX_INSTRUCTIONS) {
    throw new RangeError(`A BPF program has at most ${MAX_INSTRUCTIONS} instructions: got ${program.length}`);
  }
  const view = new DataView(new ArrayBuffer(program.length * 8));
  program.forEach(([code, jumpTrue, jumpFalse, operand], i) => {
    view.setUint16(i * 8, code, true);
    view.setUint8(i * 8 + 2, jumpTrue);
    view.setUint8(i * 8 + 3, jumpFalse);
    view.setUint32(i * 8 + 4, operand, true);
  });
  return new Uint8Array(view.buffer);
}

/** Makes the socket `fd` take only what the program accepts. @throws {SystemError} As setsockopt(2). */
export function attachProgram(fd: number, program: Uint8Array<ArrayBuffer>): void {
  const address = addressOf(program);
  // struct sock_fprog { u16 len; struct sock_filter *filter; }
  const words = [
    program.length / 8,
    0,
    Number(BigInt.asIntN(32, address)),
    Number(BigInt.asIntN(32, address >> 32n)),
  ];
  setSocketOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, words, "SO_ATTACH_FILTER");
}
