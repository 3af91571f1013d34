/**
 * What flanneld writes on its own Node: annotations and the condition.
 *
 * Everything goes to the status subresource: the right to patch Nodes themselves isn't needed.
 *
 * @module
 */
import type { ApiClient } from "../../kube/client.ts";
import type { AnnotationValues } from "./annotations.ts";

/** The condition that says the network is there; its words are the original's. */
export const CONDITION = {
  type: "NetworkUnavailable",
  status: "False",
  reason: "FlannelIsUp",
  message: "Flannel is running on this node",
} as const;

/** Changes annotations. @throws {ApiError} 404 where there is no such Node. @throws {Error} If the server can't be reached. */
export async function patchAnnotations(
  client: ApiClient,
  name: string,
  annotations: AnnotationValues,
  signal: AbortSignal,
): Promise<void> {
  await patchStatus(client, name, { metadata: { annotations } }, signal);
}

/** Says that the network is there. @throws As {@link patchAnnotations}. */
export async function patchCondition(client: ApiClient, name: string, signal: AbortSignal): Promise<void> {
  const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  const condition = { ...CONDITION, lastHeartbeatTime: now, lastTransitionTime: now };
  await patchStatus(client, name, { status: { conditions: [condition] } }, signal);
}

async function patchStatus(
  client: ApiClient,
  name: string,
  body: object,
  signal: AbortSignal,
): Promise<void> {
  await client.json({
    method: "PATCH",
    path: `${nodePath(name)}/status`,
    contentType: "application/strategic-merge-patch+json",
    body: JSON.stringify(body),
  }, signal);
}

function nodePath(name: string): string {
  return `/api/v1/nodes/${encodeURIComponent(name)}`;
}
