/**
 * One HTTP request, over node:http: `fetch` would send requests to a metadata server to the proxy that HTTP_PROXY
 * names, which doesn't know this instance.
 *
 * @module
 */
import { type IncomingHttpHeaders, request as requestPlain } from "node:http";
import { CloudError } from "./errors.ts";

/** One request. */
export interface HttpRequest {
  readonly url: URL;
  readonly method: "GET" | "PUT" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Milliseconds until the whole answer must be there. */
  readonly timeout: number;
  readonly signal: AbortSignal;
  /** Who is asked, for errors: `the metadata server at 169.254.169.254`. */
  readonly server: string;
}

/** One answer. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Longest answer that is read, in characters. */
const MAX_BODY = 8 << 20;

/**
 * Sends a request and reads the answer, whatever its status.
 *
 * @throws {CloudError} Of kind `unavailable` if there is no answer in time; its code is the system's, like
 * ECONNREFUSED, or ETIMEDOUT.
 * @throws The signal's reason when it fires.
 */
export async function askHttp(ask: HttpRequest): Promise<HttpAnswer> {
  const request = ask.url.protocol === "https:" ? (await import("node:https")).request : requestPlain;
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  const fail = (error: unknown) =>
    reject(ask.signal.aborted ? ask.signal.reason : noAnswer(ask.server, error));
  const signal = AbortSignal.any([ask.signal, AbortSignal.timeout(ask.timeout)]);
  // A connection each: minutes pass between two requests, and a kept one may be dead by then.
  const call = request(ask.url, { method: ask.method, headers: { ...ask.headers }, signal, agent: false });
  call.on("error", fail);
  call.on("response", (response) => {
    let body = "";
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      body += chunk;
      if (body.length > MAX_BODY) call.destroy(new Error("the answer is too long"));
    });
    response.on("error", fail);
    response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
  });
  call.end(ask.body);
  return await promise;
}

function noAnswer(server: string, error: unknown): CloudError {
  const why = error instanceof Error ? (error as { code?: string }).code ?? error.message : String(error);
  const code = why === "ABORT_ERR" ? "ETIMEDOUT" : why;
  return new CloudError("unavailable", `No answer from ${server}: ${code}`, { code });
}
