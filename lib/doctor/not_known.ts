/**
 * What can't be known, as an error.
 *
 * @module
 */

/** What a check depends on can't be known; the message says what. */
export class NotKnown extends Error {
  override readonly name = "NotKnown";
}
