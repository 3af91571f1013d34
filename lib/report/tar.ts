/**
 * Archives of files as tar(5) has them: POSIX ustar, which every tar reads.
 *
 * @module
 */

/** A file of an archive. */
export interface TarFile {
  /** Its path, at most 100 bytes of ASCII. */
  readonly name: string;
  readonly content: Uint8Array<ArrayBuffer>;
}

const BLOCK = 512;

/** Fields of the header: where each begins, and its length in bytes (POSIX.1-1988, IEEE Std 1003.1). */
const NAME = [0, 100], MODE = [100, 8], UID = [108, 8], GID = [116, 8], SIZE = [124, 12], TIME = [136, 12];
const CHECKSUM = [148, 8], TYPE = [156, 1], MAGIC = [257, 8];

/**
 * The archive's bytes.
 *
 * @param time When the files were made, in seconds since the epoch.
 * @throws {RangeError} If a name is too long.
 */
export function tarOf(files: readonly TarFile[], time: number): Uint8Array<ArrayBuffer> {
  const padded = (length: number) => Math.ceil(length / BLOCK) * BLOCK;
  const total = files.reduce((sum, { content }) => sum + BLOCK + padded(content.length), 2 * BLOCK);
  const archive = new Uint8Array(total);
  let at = 0;
  for (const file of files) {
    archive.set(headerOf(file, time), at);
    archive.set(file.content, at + BLOCK);
    at += BLOCK + padded(file.content.length);
  }
  return archive;
}

function headerOf({ name, content }: TarFile, time: number): Uint8Array {
  const header = new Uint8Array(BLOCK);
  const put = ([start, length]: readonly number[], text: string) => {
    const bytes = new TextEncoder().encode(text);
    if (bytes.length > length!) {
      throw new RangeError(`Cannot put ${JSON.stringify(text)} into ${length} bytes of tar`);
    }
    header.set(bytes, start);
  };
  const number = (field: readonly number[], value: number) =>
    put(field, value.toString(8).padStart(field[1]! - 1, "0"));
  put(NAME, name);
  number(MODE, 0o600);
  number(UID, 0);
  number(GID, 0);
  number(SIZE, content.length);
  number(TIME, Math.floor(time));
  put(TYPE, "0");
  put(MAGIC, "ustar\x0000");
  // The sum of all bytes, with blanks in its own place.
  header.fill(0x20, CHECKSUM[0], CHECKSUM[0]! + CHECKSUM[1]!);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(CHECKSUM, `${sum.toString(8).padStart(6, "0")}\0 `);
  return header;
}

/** The bytes as gzip has them. */
export async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
