/**
 * Sentences in lines.
 *
 * @module
 */

/** No line is broken to less than this: of very narrow terminals the wide ones are wrapped by the terminal itself. */
const LEAST = 20;

/** The text in lines of at most `width` characters, broken at spaces; a longer word keeps its length. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > Math.max(width, LEAST)) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
