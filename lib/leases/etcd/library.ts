/**
 * The part of npm:etcd3 that is used: the generated gRPC clients, without its pool, policies and Watcher.
 *
 * Its connection pool picks hosts at random, allows no mix of http and https, waits up to 20 s for a connection
 * and logs in over a channel of its own without options; its Watcher takes the header's revision for its cursor
 * (see watch.ts). So every endpoint gets a client of its own with policies that do nothing.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Credentials } from "./credentials.ts";
import type { Endpoint } from "./endpoints.ts";
import type { RpcError } from "./faults.ts";

/** A stream as grpc-js gives it: a duplex object stream. */
export interface CallStream<Response> extends AsyncIterable<Response> {
  write(request: unknown): void;
  cancel(): void;
  on(event: "error", listener: (error: Error) => void): void;
  /** Comes once, when the stream has ended, well or badly. */
  on(event: "status", listener: () => void): void;
}

export interface Metadata {
  set(key: string, value: string): void;
}

export interface RpcClient {
  getChannel(): { getConnectivityState(connect: boolean): number };
}

export type UnaryMethod = (
  request: unknown,
  metadata: Metadata,
  options: { deadline: number },
  callback: (error: RpcError | null, response: unknown) => void,
) => { cancel(): void };

export type StreamMethod = (metadata: Metadata, options: { deadline?: number }) => CallStream<unknown>;

/** The clients of one endpoint. */
export interface Channels {
  /** @param service Of etcd's API, like `KV`. */
  withConnection<T>(
    service: string,
    use: (connection: { client: RpcClient; metadata: Metadata }) => T | Promise<T>,
  ): Promise<T>;
}

interface Connector {
  connectionOptions?: { servername?: string };
}

/** The part of etcd3's inside that its types hide. */
interface Pool extends Channels {
  readonly hosts: readonly {
    readonly channelCredentials: { _createSecureConnector(...args: unknown[]): Connector };
  }[];
}

/** grpc-js's connectivityState.READY. */
export const READY = 2;

const CHANNEL_OPTIONS = {
  // A connection that was cut without a word is noticed 6 + 3 s after its last sign of life. etcd refuses
  // clients that ping more often than every 5 s (--grpc-keepalive-min-time).
  "grpc.keepalive_time_ms": 6000,
  "grpc.keepalive_timeout_ms": 3000,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  // Pages keep answers small, but nothing limits a lease's value or what one transaction changes.
  "grpc.max_receive_message_length": -1,
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
};

let library: Promise<typeof import("etcd3")> | undefined;

/** Starts to load etcd3 (about 100 ms); later calls wait for the same load. */
export function loadEtcd3(): Promise<typeof import("etcd3")> {
  return library ??= import("etcd3");
}

/** Makes the clients of one endpoint. @throws {Error} If the certificates can't be used. */
export function openChannels(
  etcd3: typeof import("etcd3"),
  endpoint: Endpoint,
  credentials: Credentials,
): { channels: Channels; close: () => void } {
  const direct = { execute: <T>(call: () => T) => call() };
  const { ca, cert, key } = credentials;
  const pem = (text: string) => Buffer.from(text);
  const client = new etcd3.Etcd3({
    hosts: [endpoint.url],
    grpcOptions: CHANNEL_OPTIONS,
    // deno-lint-ignore no-explicit-any -- etcd3 wants cockatiel's policy class; of it, it calls execute alone.
    faultHandling: { host: () => direct as any, global: direct as any },
    ...endpoint.secure && (ca || cert)
      ? {
        credentials: {
          rootCertificate: (ca ? pem(ca) : null) as Buffer,
          ...cert && key ? { certChain: pem(cert), privateKey: pem(key) } : {},
        },
      }
      : {},
  });
  const { pool } = client as unknown as { pool: Pool };
  if (endpoint.secure) allowAddresses(pool);
  return { channels: pool, close: () => client.close() };
}

/**
 * grpc-js names the server in the TLS handshake even where the endpoint is an address, which RFC 6066
 * section 3 forbids and node:tls refuses. Without a name, the certificate is checked against the address.
 */
function allowAddresses(pool: Pool): void {
  for (const { channelCredentials } of pool.hosts) {
    const create = channelCredentials._createSecureConnector.bind(channelCredentials);
    channelCredentials._createSecureConnector = (...args) => {
      const connector = create(...args);
      const options = connector.connectionOptions;
      if (options && /^\d+(\.\d+){3}$|:/.test(options.servername ?? "")) delete options.servername;
      return connector;
    };
  }
}
