/**
 * Which Node this host is.
 *
 * @module
 */
import { hostname } from "node:os";
import type { ApiClient } from "../../kube/client.ts";
import { StoreError } from "../types.ts";

/**
 * The Node's name: NODE_NAME, or that of the Node on which the Pod POD_NAME in POD_NAMESPACE runs.
 *
 * @throws {StoreError} If neither is given, or the Pod is on no Node.
 * @throws {ApiError} If the Pod can't be read. @throws {Error} If the server can't be reached.
 */
export async function findNodeName(
  client: ApiClient,
  env: (name: string) => string | undefined,
  signal: AbortSignal,
): Promise<string> {
  const given = env("NODE_NAME");
  if (given) return given;
  const pod = env("POD_NAME"), namespace = env("POD_NAMESPACE");
  if (!pod || !namespace) {
    throw new StoreError(
      "Cannot find out which Node this host is: set NODE_NAME (or POD_NAME and POD_NAMESPACE); " +
        `on most hosts NODE_NAME is ${hostname()}`,
    );
  }
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}`;
  const answer = await client.json({ method: "GET", path }, signal);
  const name = (answer as { spec?: { nodeName?: string } }).spec?.nodeName;
  if (name) return name;
  throw new StoreError(`The Pod ${namespace}/${pod} is on no Node: its spec has no nodeName`);
}
