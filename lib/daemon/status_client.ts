/**
 * Asking a running daemon how it does.
 *
 * @module
 */
import { request } from "node:http";
import type { JsonObject } from "../config/types.ts";
import type { PeerDetail, StatusDocument } from "../status/document.ts";

/** A daemon answers at once, or something is wrong with it. */
const TIMEOUT_MS = 5_000;

/**
 * Asks the daemon behind a status socket.
 *
 * @throws {Error} If none answers, or something else does; the message says what to do.
 */
export async function readStatus(path: string, peers: PeerDetail = "counts"): Promise<StatusDocument> {
  const target = peers === "counts" ? "/status" : `/status?peers=${peers}`;
  return await readLocal(path, target) as unknown as StatusDocument;
}

/** There is no daemon behind the socket. */
class NoDaemonError extends Error {}

/** Whether an error says that no daemon is running, and not that one doesn't answer. */
export function isNoDaemon(error: unknown): boolean {
  return error instanceof NoDaemonError;
}

/** As {@link readStatus}, for another path of the same server. */
export function readLocal(path: string, urlPath: string): Promise<JsonObject> {
  const { promise, resolve, reject } = Promise.withResolvers<JsonObject>();
  const call = request({ socketPath: path, path: urlPath, timeout: TIMEOUT_MS }, (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk) => text += chunk);
    response.on("end", () => {
      const status = parse(text);
      if (status) resolve(status);
      else reject(new Error(`its answer isn't JSON (status ${response.statusCode}): is that a flanneld?`));
    });
    response.on("error", reject);
  });
  call.on("timeout", () => call.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
  call.on("error", reject);
  call.end();
  return promise.catch((error) => {
    throw explain(path, error);
  });
}

function parse(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? value as JsonObject : undefined;
  } catch {
    return undefined;
  }
}

function explain(path: string, error: Error & { code?: string }): Error {
  if (error.code === "EACCES") {
    return new Error(`Cannot ask flanneld on ${path}: run this as root (sudo flanneld status)`);
  }
  const isAway = error.code === "ENOENT" || error.code === "ECONNREFUSED";
  if (isAway) {
    return new NoDaemonError(
      `Cannot ask flanneld on ${path}: no flanneld is running with this -subnet-file`,
      { cause: error },
    );
  }
  return new Error(`Cannot ask flanneld on ${path}: ${error.message}`, { cause: error });
}
