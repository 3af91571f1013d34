/**
 * The Internet sum as a WebAssembly module with 128-bit SIMD, put together here byte by byte: 50 instructions
 * don't justify a compiler in the build.
 *
 * The module imports the memory and exports `sum(offset: i32, length: i32): i32`, the big-endian folded sum.
 * Opcodes are those of the WebAssembly core specification 2.0, appendix "Index of Instructions".
 *
 * @module
 */

/** Where the module looks for its memory. */
export const SIMD_MEMORY_IMPORT = { module: "packet", name: "memory" } as const;

const I32 = 0x7f, V128 = 0x7b, VOID = 0x40, FUNCTION = 0x60;

/** Unsigned LEB128. */
function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 0x7f; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return [...bytes, value];
}

/** Signed LEB128 of a number that isn't negative. */
function signed(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 0x3f; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return [...bytes, value];
}

const simd = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];
const get = (local: number): number[] => [0x20, local];
const set = (local: number): number[] => [0x21, local];
const tee = (local: number): number[] => [0x22, local];
const constant = (value: number): number[] => [0x41, ...signed(value)];
const block = (...body: number[][]): number[] => [0x02, VOID, ...body.flat(), 0x0b];
const loop = (...body: number[][]): number[] => [0x03, VOID, ...body.flat(), 0x0b];
const branchIf = (depth: number): number[] => [0x0d, depth];
const ADD = [0x6a], SUB = [0x6b], AND = [0x71], OR = [0x72], SHL = [0x74], SHR_U = [0x76];
const EQZ = [0x45], LT_U = [0x49], GE_U = [0x4f];
/** Loads with alignment 1: packets start anywhere. */
const LOAD8_U = [0x2d, 0, 0], LOAD16_U = [0x2f, 0, 0];
const loadVector = (offset: number): number[] => [...simd(0), 0, ...unsigned(offset)];
const laneOf = (lane: number): number[] => [...simd(27), lane];
const ADD_PAIRS = simd(127), ADD_LANES = simd(174);

const OFFSET = 0, LENGTH = 1, TOTAL = 2, EVEN = 3, ODD = 4;

/** Adds one vector of eight 16-bit words to the four 32-bit sums in `local`. */
const addVector = (local: number, offset: number): number[][] => [
  get(local),
  get(OFFSET),
  loadVector(offset),
  ADD_PAIRS,
  ADD_LANES,
  set(local),
];

/** Steps over `bytes` and goes round again while as many are left. */
const advance = (bytes: number): number[][] => [
  [...get(OFFSET), ...constant(bytes), ...ADD, ...set(OFFSET)],
  [...get(LENGTH), ...constant(bytes), ...SUB, ...tee(LENGTH)],
  [...constant(bytes), ...GE_U, ...branchIf(0)],
];

/** Leaves the enclosing block if fewer than `bytes` are left. */
const unlessLeft = (bytes: number): number[] => [...get(LENGTH), ...constant(bytes), ...LT_U, ...branchIf(0)];

/** Folds {@link TOTAL} once. */
const FOLD = [
  ...[...get(TOTAL), ...constant(0xffff), ...AND],
  ...[...get(TOTAL), ...constant(16), ...SHR_U],
  ...ADD,
  ...set(TOTAL),
];

const BODY: number[] = [
  block(unlessLeft(32), loop(...addVector(EVEN, 0), ...addVector(ODD, 16), ...advance(32))),
  [...get(EVEN), ...get(ODD), ...ADD_LANES, ...set(EVEN)],
  // Each lane is below 2^28 for 64 KiB, so that their total keeps within 32 bits.
  ...[0, 1, 2, 3].map((lane) => [...get(EVEN), ...laneOf(lane), ...get(TOTAL), ...ADD, ...set(TOTAL)]),
  block(
    unlessLeft(2),
    loop([...get(OFFSET), ...LOAD16_U, ...get(TOTAL), ...ADD, ...set(TOTAL)], ...advance(2)),
  ),
  block([
    ...[...get(LENGTH), ...EQZ, ...branchIf(0)],
    ...[...get(OFFSET), ...LOAD8_U, ...get(TOTAL), ...ADD, ...set(TOTAL)],
  ]),
  FOLD,
  FOLD,
  // Words were loaded little-endian.
  [...get(TOTAL), ...constant(0xff), ...AND, ...constant(8), ...SHL],
  [...get(TOTAL), ...constant(8), ...SHR_U, ...OR],
].flat();

function section(id: number, body: number[]): number[] {
  return [id, ...unsigned(body.length), ...body];
}

function text(value: string): number[] {
  const bytes = [...new TextEncoder().encode(value)];
  return [bytes.length, ...bytes];
}

/** The module's bytes, for a memory of exactly `pages` pages of 64 KiB. */
export function simdChecksumModule(pages: number): Uint8Array<ArrayBuffer> {
  const size = unsigned(pages);
  const memory = [
    ...text(SIMD_MEMORY_IMPORT.module),
    ...text(SIMD_MEMORY_IMPORT.name),
    0x02,
    0x01,
    ...size,
    ...size,
  ];
  const code = [2, 1, I32, 2, V128, ...BODY, 0x0b];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, FUNCTION, 2, I32, I32, 1, I32]),
    ...section(2, [1, ...memory]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...text("sum"), 0x00, 0]),
    ...section(10, [1, ...unsigned(code.length), ...code]),
  ]);
}
