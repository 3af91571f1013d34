/**
 * What a request to the fake API server asks for.
 *
 * @module
 */
import { KINDS } from "./discovery.ts";
import { type KubeObject, StatusError } from "./objects.ts";

/** A path under /api/v1. */
export interface Call {
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
}

export function parsePath(path: string): Call {
  const match = /^\/api\/v1(?:\/namespaces\/([^/]+)(?=\/))?\/([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(path);
  const [, namespace, resource = "", name, subresource] = match ?? [];
  if (!match || !(resource in KINDS)) {
    throw new StatusError(404, "NotFound", "the server could not find the requested resource");
  }
  return {
    resource,
    ...(namespace === undefined ? {} : { namespace: decodeURIComponent(namespace) }),
    ...(name === undefined ? {} : { name: decodeURIComponent(name) }),
    ...(subresource === undefined ? {} : { subresource }),
  };
}

export function verbOf(method: string, named: boolean, watching: boolean): string {
  if (method === "GET") return watching ? "watch" : named ? "get" : "list";
  const verb = { POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" }[method];
  if (verb) return verb;
  throw new StatusError(405, "MethodNotAllowed", `the server does not allow the method ${method}`);
}

/** Field selectors for names and for a Pod's Node. */
export function selector(call: Call, query: URLSearchParams): (object: KubeObject) => boolean {
  const terms = (query.get("fieldSelector") ?? "").split(",").filter(Boolean).map((term) => {
    const [, field = "", not, value = ""] = /^([^!=]+)(!?)==?(.*)$/.exec(term) ?? [];
    return { path: field.split("."), wanted: not === "", value };
  });
  return (object) => {
    if (call.namespace !== undefined && object.metadata.namespace !== call.namespace) return false;
    if (call.name !== undefined && object.metadata.name !== call.name) return false;
    return terms.every(({ path, wanted, value }) => {
      const found = path.reduce<unknown>(
        (at, name) => (at as Record<string, unknown> | undefined)?.[name],
        object,
      );
      return (String(found ?? "") === value) === wanted;
    });
  };
}

/** Of a change by way of the status subresource, status and metadata count; of one of the object, all but status. */
export function onlyPart(before: KubeObject, after: KubeObject, subresource: string | undefined): KubeObject {
  if (subresource === "status") return { ...before, metadata: after.metadata, status: after["status"] };
  return { ...after, status: before["status"] };
}

export function parseJson(body: string): object {
  try {
    return JSON.parse(body) as object;
  } catch {
    throw new StatusError(400, "BadRequest", "the object provided is unrecognized: it isn't JSON");
  }
}

export async function readBody(request: AsyncIterable<unknown>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of request) text += decoder.decode(chunk as Uint8Array, { stream: true });
  return text + decoder.decode();
}
