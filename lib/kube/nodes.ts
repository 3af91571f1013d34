/**
 * The cluster's Nodes: all of them once, then every change.
 *
 * Of a Node only what a lease is made of is kept: name, uid, podCIDRs and the annotations with our prefix.
 *
 * @module
 */
import type { Readable } from "node:stream";
import { type ApiClient, ApiError } from "./client.ts";
import { JsonSkimmer, type Pick, type SkimmedJson } from "./json_skim.ts";
import { Silence, WatchPace } from "./watch_pace.ts";

/** What is kept of a Node. */
export interface NodeRecord {
  readonly name: string;
  /** Another one for a Node that was deleted and recreated under the same name. */
  readonly uid: string;
  readonly resourceVersion: string;
  /** When it was made: RFC 3339, to the second. */
  readonly created: string;
  /** The annotations whose name begins with the prefix. */
  readonly annotations: Readonly<Record<string, string>>;
  /** spec.podCIDRs, or spec.podCIDR where that is empty. */
  readonly podCidrs: readonly string[];
  /** The condition NetworkUnavailable; null: there is none; absent: conditions weren't read, as in lists. */
  readonly networkUnavailable?: { readonly status?: string; readonly reason?: string } | null;
}

/** One change. */
export type NodeEvent =
  | { readonly kind: "put"; readonly node: NodeRecord }
  | { readonly kind: "delete"; readonly name: string };

/** Nodes a page of a list; the API server answers one of 500 Nodes of 20 KB in 80 ms. */
const PAGE = 500;

/** How long a page may take, in milliseconds: the API server ends a request after a minute. */
const PAGE_MS = 90_000;

/** How long nothing of a page may come once it has begun, in milliseconds: over HTTP/1.1 nothing else shows its end. */
const PAGE_SILENCE_MS = 30_000;

const NODE: Pick = {
  keys: {
    metadata: {
      keys: { name: "all", uid: "all", resourceVersion: "all", creationTimestamp: "all", annotations: "all" },
    },
    spec: { keys: { podCIDR: "all", podCIDRs: "all" } },
  },
};

/** A watch's event; an ERROR's object is a Status. */
export const EVENT: Pick = {
  keys: {
    type: "all",
    object: {
      keys: {
        ...(NODE as { keys: Record<string, Pick> }).keys,
        // For the own Node: nobody need ask whether a kubelet's write changed more than the time.
        status: { keys: { conditions: "all" } },
        ...{ code: "all", reason: "all", message: "all" },
      },
    },
  },
};

/** Where to ask for Nodes, and which annotations to keep. */
export interface NodeSource {
  readonly client: ApiClient;
  /** Prefix of the annotations, with its separator: `flannel.alpha.coreos.com/`. */
  readonly annotationPrefix: string;
}

/**
 * Lists all Nodes, page by page.
 *
 * @param onNode Gets each Node as it is read.
 * @returns The version from which a watch goes on.
 * @throws {ApiError} For an answer that isn't a success. @throws {Error} If the server can't be reached.
 */
export async function listNodes(
  { client, annotationPrefix }: NodeSource,
  onNode: (node: NodeRecord) => void,
  signal: AbortSignal,
): Promise<string> {
  let next = "";
  do {
    const query = new URLSearchParams({ limit: String(PAGE), ...(next === "" ? {} : { continue: next }) });
    const late = `the list of Nodes stopped, or is not complete after ${PAGE_MS / 1000} s`;
    using limit = new Silence(PAGE_MS, PAGE_SILENCE_MS, late);
    const page = await client.stream(
      { method: "GET", path: `/api/v1/nodes?${query}` },
      AbortSignal.any([signal, limit.signal]),
      async (body) => {
        limit.broken();
        let list: SkimmedJson = null;
        const pick: Pick = {
          keys: {
            metadata: { keys: { resourceVersion: "all", continue: "all" } },
            items: { each: NODE, onElement: (node) => onNode(recordOf(node, annotationPrefix)) },
          },
        };
        await skim(body, new JsonSkimmer(pick, (value) => list = value), () => limit.broken());
        return list;
      },
    );
    const { resourceVersion, continue: token } = fields(fields(page)["metadata"]);
    next = text(token);
    if (next === "") return text(resourceVersion);
  } while (true);
}

/**
 * Follows all changes after a version, until the server ends the watch, as it does every few minutes.
 *
 * @param from The version that a list or an earlier watch ended with.
 * @param onEvents Gets the changes of one chunk of the stream, in their order; and the version up to which all is known.
 * @param pace Of this watch and those before it.
 * @throws {ApiError} With {@link isGone} where the version is too old. @throws {Error} If the connection breaks.
 */
export async function watchNodes(
  { client, annotationPrefix }: NodeSource,
  from: string,
  onEvents: (events: readonly NodeEvent[], version: string) => void,
  signal: AbortSignal,
  pace = new WatchPace(),
): Promise<void> {
  const bounds = pace.next(await client.hasPings(signal));
  const query = new URLSearchParams({
    watch: "true",
    allowWatchBookmarks: "true",
    resourceVersion: from,
    timeoutSeconds: String(bounds.seconds),
  });
  const { headMs, longestMs, silenceMs, isProof } = bounds;
  const late = `${client.description} gave no sign of life for ${silenceMs / 1000} s`;
  using silence = new Silence(longestMs, silenceMs, late);
  const call = { method: "GET", path: `/api/v1/nodes?${query}`, ...(headMs ? { headMs } : {}) } as const;
  let count = 0;
  try {
    const limit = AbortSignal.any([signal, silence.signal]);
    await client.stream(call, limit, async (body) => {
      silence.broken();
      onEvents([], from);
      let events: NodeEvent[] = [];
      let version = from;
      const skimmer = new JsonSkimmer(EVENT, (value) => {
        const { event, version: seen } = eventOf(value, annotationPrefix);
        if (event) events.push(event);
        if (seen !== "") version = seen;
      });
      await skim(body, skimmer, () => {
        silence.broken();
        count += events.length;
        onEvents(events, version);
        events = [];
      });
    });
  } catch (error) {
    if (!silence.signal.aborted) throw error;
    if (!isProof) return;
    // What else is under way to this server gets no answer either.
    client.dropConnection(silence.signal.reason as Error);
    throw error;
  } finally {
    pace.ended({ events: count, beganAt: silence.beganAt, isLate: silence.signal.aborted });
  }
}

/**
 * The server's version now: a list of one Node, read from the store and not from a cache.
 *
 * @throws {ApiError} For an answer that isn't a success. @throws {Error} If the server can't be reached.
 */
export async function currentVersion({ client }: NodeSource, signal: AbortSignal): Promise<string> {
  const page = await client.json({ method: "GET", path: "/api/v1/nodes?limit=1" }, signal);
  return text(fields(fields(page as SkimmedJson)["metadata"])["resourceVersion"]);
}

/** Reads the own Node, or any other. @throws {ApiError} 404 where there is none. */
export async function getNode(
  { client, annotationPrefix }: NodeSource,
  name: string,
  signal: AbortSignal,
): Promise<NodeRecord> {
  const node = await client.json(
    { method: "GET", path: `/api/v1/nodes/${encodeURIComponent(name)}` },
    signal,
  );
  return recordOf(node as SkimmedJson, annotationPrefix);
}

async function skim(body: Readable, skimmer: JsonSkimmer, onChunk?: () => void): Promise<void> {
  for await (const chunk of body) {
    skimmer.push(chunk as Uint8Array);
    onChunk?.();
  }
  skimmer.end();
}

/** One event of a watch. @throws {ApiError} If the event is an error. */
export function eventOf(value: SkimmedJson, prefix: string): { event?: NodeEvent; version: string } {
  const { type, object } = fields(value);
  if (type === "ERROR") {
    const { code, reason, message } = fields(object);
    throw new ApiError(text(message), Number(code ?? 0), text(reason));
  }
  const node = recordOf(object ?? null, prefix);
  const version = node.resourceVersion;
  if (type === "BOOKMARK") return { version };
  if (type === "DELETED") return { event: { kind: "delete", name: node.name }, version };
  // Kinds of events that the API doesn't have yet say nothing of a Node.
  return type === "ADDED" || type === "MODIFIED" ? { event: { kind: "put", node }, version } : { version };
}

/** A Node, whole or skimmed, as a record. @param prefix Of the annotations to keep. */
export function recordOf(value: SkimmedJson, prefix: string): NodeRecord {
  const node = fields(value), metadata = fields(node["metadata"]), spec = fields(node["spec"]);
  const annotations = Object.entries(fields(metadata["annotations"]))
    .filter(([name, one]) => name.startsWith(prefix) && typeof one === "string");
  const several = spec["podCIDRs"];
  const cidrs = Array.isArray(several) && several.length > 0 ? several : [spec["podCIDR"]];
  return {
    name: text(metadata["name"]),
    uid: text(metadata["uid"]),
    resourceVersion: text(metadata["resourceVersion"]),
    created: text(metadata["creationTimestamp"]),
    annotations: Object.fromEntries(annotations) as Record<string, string>,
    podCidrs: cidrs.filter((cidr): cidr is string => typeof cidr === "string" && cidr !== ""),
    ...networkUnavailable(fields(node["status"])["conditions"]),
  };
}

function networkUnavailable(
  conditions: SkimmedJson | undefined,
): { networkUnavailable?: NonNullable<NodeRecord["networkUnavailable"]> | null } {
  if (!Array.isArray(conditions)) return {};
  const found = conditions.map(fields).find(({ type }) => type === "NetworkUnavailable");
  return {
    networkUnavailable: found ? { status: text(found["status"]), reason: text(found["reason"]) } : null,
  };
}

function fields(value: SkimmedJson | undefined): { [key: string]: SkimmedJson } {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

function text(value: SkimmedJson | undefined): string {
  return typeof value === "string" ? value : "";
}
