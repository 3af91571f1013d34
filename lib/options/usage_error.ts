/**
 * The command line is wrong: one sentence for the user, exit status 2.
 *
 * @module
 */

/** Names the option or word, what it got and what it takes. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** What the process ends with. */
  readonly exitCode = 2;

  /** @param command The command that was called, where that is known: its help says more. */
  constructor(message: string, readonly command?: string) {
    super(message);
  }
}
