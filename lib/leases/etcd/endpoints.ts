/**
 * The list of endpoints as people write it: with spaces, trailing slashes, IPv6 literals.
 *
 * @module
 */
import { hideUser } from "../../observe/redact.ts";
import { StoreError } from "../types.ts";

/** One etcd server. */
export interface Endpoint {
  /** For logs and errors: `https://10.0.0.1:2379`. */
  readonly url: string;
  /** `HOST:PORT` as gRPC takes it, an IPv6 host in brackets. */
  readonly target: string;
  readonly secure: boolean;
}

const DEFAULT_PORT = "2379";

/**
 * Parses `http://a:2379, https://[fd00::1]:2379/,b`; without a scheme it is http, without a port 2379.
 *
 * @throws {StoreError} If one isn't an endpoint, or there is none.
 */
export function parseEndpoints(text: string | readonly string[]): Endpoint[] {
  const parts = (typeof text === "string" ? text.split(",") : text).map((part) => part.trim());
  const endpoints = parts.filter((part) => part !== "").map(parseEndpoint);
  if (endpoints.length === 0) throw new StoreError("No etcd endpoint is given: -etcd-endpoints takes URLs");
  return endpoints;
}

function parseEndpoint(text: string): Endpoint {
  const match = /^(?:(https?):\/\/)?(\[[0-9a-f:.]+\]|[^\s/:@[\]]+)(?::(\d{1,5}))?\/*$/i.exec(text);
  if (!match || Number(match[3] ?? DEFAULT_PORT) > 65535) {
    throw new StoreError(
      `Cannot use ${
        JSON.stringify(hideUser(text))
      } as an etcd endpoint: it must be like http://10.0.0.1:2379, ` +
        "https://etcd.example:2379 or http://[fd00::1]:2379",
    );
  }
  const scheme = (match[1] ?? "http").toLowerCase();
  const target = `${match[2]}:${match[3] ?? DEFAULT_PORT}`;
  return { url: `${scheme}://${target}`, target, secure: scheme === "https" };
}
