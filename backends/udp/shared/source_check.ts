/**
 * The source check: what a sender must prove.
 *
 * @module
 */

/** How far a datagram's sender must prove to be a live peer. */
export const CHECK_NOTHING = 0, CHECK_ADDRESS = 1, CHECK_ADDRESS_AND_PORT = 2;

/** One of the CHECK_ values. */
export type SourceCheck = typeof CHECK_NOTHING | typeof CHECK_ADDRESS | typeof CHECK_ADDRESS_AND_PORT;
