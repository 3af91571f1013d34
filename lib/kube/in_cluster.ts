/**
 * Access of a Pod: the service account's token and CA, and the server that the kubelet names in the environment.
 *
 * @module
 */
import {
  type ApiAccess,
  checkAuthorities,
  parseServer,
  readText,
  type TlsMaterial,
  TokenFile,
} from "./access.ts";

/** Where the kubelet puts a service account's files. */
const SERVICE_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * The access of the Pod that we run in.
 *
 * @param env The process's environment.
 * @param folder Where token and CA are.
 * @returns Undefined where this isn't a Pod.
 * @throws {AccessError} If the environment names a server that can't be one.
 */
export function inClusterAccess(
  env: (name: string) => string | undefined,
  folder = SERVICE_ACCOUNT_FOLDER,
): ApiAccess | undefined {
  const host = env("KUBERNETES_SERVICE_HOST"), port = env("KUBERNETES_SERVICE_PORT");
  if (!host || !port) return undefined;
  const source = "the Pod's service account";
  const server = parseServer(`https://${host.includes(":") ? `[${host}]` : host}:${port}`, source);
  const token = new TokenFile(`${folder}/token`);
  return {
    server,
    source,
    insecure: false,
    tls: () => authorities(`${folder}/ca.crt`),
    authorization: async (refused) => `Bearer ${await token.read(refused)}`,
  };
}

/** The cluster's CA; where the Pod was given none, the system's, as client-go has it. */
async function authorities(path: string): Promise<TlsMaterial> {
  let ca: string;
  try {
    ca = await readText(path);
  } catch (error) {
    if ((error as Error).cause instanceof Deno.errors.NotFound) return {};
    throw error;
  }
  checkAuthorities(ca, path);
  return { ca };
}
