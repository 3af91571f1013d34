/**
 * Reads the commit of a checkout without running git. Pure: the files come in through a function.
 *
 * @module
 */

/**
 * The commit that HEAD stands for.
 *
 * @param gitFolder path of `.git`
 * @param read the text of a file, or undefined if it can't be read
 * @returns 40 (SHA-1) or 64 (SHA-256) hexadecimal digits, or undefined where there is none
 */
export function headCommit(
  gitFolder: string,
  read: (path: string) => string | undefined,
): string | undefined {
  const head = read(`${gitFolder}/HEAD`)?.trim();
  if (head === undefined) return undefined;
  const ref = /^ref: (refs\/\S+)$/.exec(head)?.[1];
  if (ref === undefined) return hash(head);
  return hash(read(`${gitFolder}/${ref}`)?.trim()) ?? packedRef(read(`${gitFolder}/packed-refs`) ?? "", ref);
}

/** `git pack-refs` moves many refs into one file of lines `HASH REF`. */
function packedRef(text: string, ref: string): string | undefined {
  return hash(text.split("\n").find((line) => line.endsWith(` ${ref}`))?.split(" ")[0]);
}

function hash(text: string | undefined): string | undefined {
  return text !== undefined && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text) ? text : undefined;
}
