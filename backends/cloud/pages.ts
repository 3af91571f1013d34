/**
 * Answers in pages: a server that never comes to the last one isn't to keep a pass for good.
 *
 * @module
 */
import { CloudError } from "./errors.ts";

/** Most pages of one list: far more than route tables and routes that any cloud allows. */
const MAX_PAGES = 100;

/** Counts the pages of one list. */
export class PageCount {
  #pages = 0;

  /** @param what Whose list it is, for the error: `EC2's list of route tables`. */
  constructor(readonly what: string) {}

  /** Call before each page. @throws {CloudError} Of kind `unavailable` if there are too many. */
  next(): void {
    if (++this.#pages <= MAX_PAGES) return;
    throw new CloudError("unavailable", `${this.what} has more than ${MAX_PAGES} pages`);
  }
}
