/**
 * Errors as container runtimes read them (CNI specification, section "Error").
 *
 * @module
 */

/** Codes of the specification, version 1.1. */
export const CNI_ERROR = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  io: 5,
  decoding: 6,
  invalidConfig: 7,
  tryAgainLater: 11,
  notAvailable: 50,
  /** From here on codes are a plugin's own. */
  delegate: 100,
} as const;

/** What the runtime gets on stdout, with exit status 1. */
export class CniError extends Error {
  override readonly name = "CniError";

  /**
   * @param message One sentence: what is wrong, where.
   * @param details What would be right, or what to do.
   */
  constructor(readonly code: number, message: string, readonly details = "") {
    super(message);
  }

  /** The error object of a result. */
  json(cniVersion: string): string {
    const { code, message, details } = this;
    return JSON.stringify({ cniVersion, code, msg: message, ...(details === "" ? {} : { details }) });
  }
}
