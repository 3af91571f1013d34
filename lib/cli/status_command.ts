/**
 * `status [-json]`: what a running flanneld does.
 *
 * @module
 */
import { statusSocketPath } from "../daemon/status_server.ts";
import type { Json, JsonObject } from "../config/types.ts";
import { request } from "node:http";
import type { Invocation } from "./parse.ts";

/** A daemon answers at once, or something is wrong with it. */
const TIMEOUT_MS = 5_000;

/** Prints the status; exit status 0 if the host is ready, 1 if not. */
export async function statusCommand({ options }: Invocation): Promise<number> {
  const status = await readStatus(statusSocketPath(options));
  console.log(options.json ? JSON.stringify(status, null, 2) : formatStatus(status));
  return status["ready"] ? 0 : 1;
}

/** Asks the daemon behind a status socket. @throws {Error} If none answers; the message says what to do. */
export function readStatus(path: string): Promise<JsonObject> {
  const { promise, resolve, reject } = Promise.withResolvers<JsonObject>();
  const call = request({ socketPath: path, path: "/status", timeout: TIMEOUT_MS }, (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk) => text += chunk);
    response.on("end", () => resolve(JSON.parse(text)));
    response.on("error", reject);
  });
  call.on("timeout", () => call.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
  call.on("error", (error) => reject(explain(path, error)));
  call.end();
  return promise;
}

function explain(path: string, error: Error & { code?: string }): Error {
  if (error.code === "EACCES") {
    return new Error(`Cannot ask flanneld on ${path}: run this as root (sudo flanneld status)`);
  }
  const isAway = error.code === "ENOENT" || error.code === "ECONNREFUSED";
  const why = isAway
    ? "no flanneld is running with this -subnet-file, or it is not ready yet"
    : error.message;
  return new Error(`Cannot ask flanneld on ${path}: ${why}`, { cause: error });
}

/** The status as lines of `name: value`, indented by level, for people. */
export function formatStatus(status: JsonObject): string {
  return lines(status, "").join("\n");
}

function lines(value: JsonObject, indent: string): string[] {
  return Object.entries(value).flatMap(([name, item]) => {
    const label = `${indent}${name}:`;
    if (Array.isArray(item)) {
      return item.length === 0 ? [] : [label, ...item.map((one: Json) => `${indent}  - ${short(one)}`)];
    }
    if (item === null) return [];
    if (typeof item === "object") return [label, ...lines(item as JsonObject, `${indent}  `)];
    return [`${label} ${item}`];
  });
}

function short(value: Json): string {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return String(value);
  return Object.values(value).map(String).join(": ");
}
