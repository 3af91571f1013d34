/**
 * Opens the lease store on etcd: the only way to npm:etcd3.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { Credentials } from "./etcd/client.ts";
import { parseEndpoints } from "./etcd/endpoints.ts";
import { EtcdStore } from "./etcd/store.ts";
import { StoreError } from "./types.ts";

/** The options named `-etcd-…`; empty text means not given. */
export interface EtcdStoreOptions {
  /** Comma-separated, or a list. */
  readonly endpoints: string | readonly string[];
  readonly prefix: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly username?: string;
  readonly password?: string;
}

/**
 * Opens the store. Returns at once: etcd3 is loaded in the background, and nothing is connected before the
 * first call.
 *
 * @throws {StoreError} If an endpoint or a certificate file can't be used.
 */
export function openEtcdStore(options: EtcdStoreOptions): EtcdStore {
  const { caFile, certFile, keyFile, username, password } = options;
  if (!certFile !== !keyFile) {
    throw new StoreError("A client certificate needs both -etcd-certfile and -etcd-keyfile");
  }
  const credentials: Credentials = {
    ...caFile ? { ca: readPem("-etcd-cafile", caFile, "CERTIFICATE") } : {},
    ...certFile ? { cert: readPem("-etcd-certfile", certFile, "CERTIFICATE") } : {},
    ...keyFile ? { key: readPem("-etcd-keyfile", keyFile, "PRIVATE KEY") } : {},
    ...username ? { username, password: password ?? "" } : {},
  };
  return new EtcdStore(parseEndpoints(options.endpoints), options.prefix, credentials);
}

/** node:tls takes any text for a certificate and fails later without a word of the file. */
function readPem(option: string, path: string, label: string): string {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (cause) {
    const why = messageOf(cause);
    throw new StoreError(`Cannot read ${option} ${path}: ${why}`, { cause });
  }
  if (!new RegExp(`-----BEGIN [A-Z ]*${label}-----`).test(text)) {
    throw new StoreError(`Cannot use ${option} ${path}: it holds no PEM ${label}`);
  }
  return text;
}
