/**
 * Opens the lease store on etcd: what loads node:http2.
 *
 * @module
 */
import { noProblems, type ProblemReporter } from "../observe/types.ts";
import { type CredentialOptions, CredentialSource } from "./etcd/credentials.ts";
import { parseEndpoints } from "./etcd/endpoints.ts";
import { EtcdStore } from "./etcd/store.ts";

/** The options named `-etcd-…`; empty text means not given. */
export interface EtcdStoreOptions extends CredentialOptions {
  /** Comma-separated, or a list. */
  readonly endpoints: string | readonly string[];
  readonly prefix: string;
}

/** The key under which certificates that can't be used are a problem. */
const PROBLEM = "etcd certificates";

/**
 * Opens the store. Nothing is connected before the first call. Certificates are read again when their files change.
 *
 * @throws {StoreError} If an endpoint or a certificate file can't be used.
 */
export function openEtcdStore(
  { endpoints, prefix, ...options }: EtcdStoreOptions,
  problems: ProblemReporter = noProblems,
): EtcdStore {
  const credentials = new CredentialSource(options, (problem) => {
    if (problem === undefined) problems.clear(PROBLEM, "usable");
    else problems.set(PROBLEM, problem);
  });
  return new EtcdStore(parseEndpoints(endpoints), prefix, credentials);
}
