/**
 * Requests to an instance's metadata server.
 *
 * @module
 */
import { askHttp, type HttpAnswer } from "./http.ts";

/** One request. */
export interface MetadataRequest {
  /** The server: `http://169.254.169.254`. */
  readonly base: string;
  /** Path with query, from the slash on. */
  readonly path: string;
  /** @default GET */
  readonly method?: "GET" | "PUT";
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** One answer. */
export type MetadataAnswer = HttpAnswer;

/** How long an answer may take, in milliseconds: the server is next door. */
const TIMEOUT_MS = 3_000;

/**
 * Sends a request and reads the answer, whatever its status.
 *
 * @throws {CloudError} Of kind `unavailable` if there is no answer in time.
 * @throws The signal's reason when it fires.
 */
export function askMetadata(ask: MetadataRequest): Promise<MetadataAnswer> {
  const url = new URL(ask.path, ask.base);
  return askHttp({
    url,
    method: ask.method ?? "GET",
    headers: ask.headers ?? {},
    timeout: TIMEOUT_MS,
    signal: ask.signal,
    server: `the metadata server at ${url.host}`,
  });
}
