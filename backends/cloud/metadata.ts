/**
 * Requests to an instance's metadata server.
 *
 * They go by node:http: `fetch` would send them to the proxy that HTTP_PROXY names, which doesn't know this
 * instance.
 *
 * @module
 */
import { request } from "node:http";
import type { IncomingHttpHeaders } from "node:http";
import { CloudError } from "./errors.ts";

/** One request. */
export interface MetadataRequest {
  /** The server: `http://169.254.169.254`. */
  readonly base: string;
  /** Path with query, from the slash on. */
  readonly path: string;
  /** @default GET */
  readonly method?: "GET" | "PUT";
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds; the server is next door. @default 3000 */
  readonly timeout?: number;
  readonly signal: AbortSignal;
}

/** One answer. */
export interface MetadataAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Longest answer that is read, in characters: anything longer is no metadata. */
const MAX_BODY = 1 << 20;

/**
 * Sends a request and reads the answer, whatever its status.
 *
 * @throws {CloudError} Of kind `unavailable` if there is no answer in time.
 * @throws The signal's reason when it fires.
 */
export function askMetadata(ask: MetadataRequest): Promise<MetadataAnswer> {
  const url = new URL(ask.path, ask.base);
  return new Promise((resolve, reject) => {
    const limit = AbortSignal.any([ask.signal, AbortSignal.timeout(ask.timeout ?? 3000)]);
    const fail = (error: unknown) => reject(ask.signal.aborted ? ask.signal.reason : unreachable(url, error));
    const call = request(url, { method: ask.method ?? "GET", headers: { ...ask.headers }, signal: limit });
    call.on("error", fail);
    call.on("response", (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        body += chunk;
        if (body.length > MAX_BODY) call.destroy(new Error("the answer is too long"));
      });
      response.on("error", fail);
      response.on(
        "end",
        () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
      );
    });
    call.end();
  });
}

function unreachable(url: URL, error: unknown): CloudError {
  const why = error instanceof Error ? (error as { code?: string }).code ?? error.message : String(error);
  const code = why === "ABORT_ERR" ? "ETIMEDOUT" : why;
  return new CloudError("unavailable", `No answer from the metadata server at ${url.host}: ${code}`, {
    code,
  });
}
