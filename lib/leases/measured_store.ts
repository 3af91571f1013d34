/**
 * A store whose requests are counted and timed.
 *
 * @module
 */
import type { Metrics } from "../observe/types.ts";
import { STORE_REQUEST_ERRORS, STORE_REQUEST_SECONDS, STORE_REQUESTS } from "./metrics.ts";
import type { LeaseStore } from "./types.ts";

/** The store with its requests in the metrics; a watch counts by its outcome (see sync.ts), not here. */
export function measuredStore(store: LeaseStore, metrics: Metrics): LeaseStore {
  const measure = async <T>(operation: string, request: () => Promise<T>): Promise<T> => {
    const began = performance.now();
    metrics.count(STORE_REQUESTS, { operation });
    try {
      return await request();
    } catch (error) {
      metrics.count(STORE_REQUEST_ERRORS, { operation });
      throw error;
    } finally {
      metrics.observe(STORE_REQUEST_SECONDS, (performance.now() - began) / 1000, { operation });
    }
  };
  return {
    description: store.description,
    dropConnections: () => store.dropConnections?.(),
    readConfig: (options) => measure("read_config", () => store.readConfig(options)),
    writeConfig: (text, options) => measure("write_config", () => store.writeConfig(text, options)),
    listLeases: (options) => measure("list", () => store.listLeases(options)),
    inspectLeases: (options) => measure("inspect", () => store.inspectLeases(options)),
    createLease: (...request) => measure("create", () => store.createLease(...request)),
    updateLease: (...request) => measure("update", () => store.updateLease(...request)),
    renewLease: (...request) => measure("renew", () => store.renewLease(...request)),
    deleteLease: (...request) => measure("delete", () => store.deleteLease(...request)),
    watchLeases: (from, options) => store.watchLeases(from, options),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}
