/**
 * Patches as the API server applies them: merge patch (RFC 7396), JSON patch (RFC 6902) and strategic merge.
 *
 * @module
 */
import { StatusError } from "./objects.ts";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type JsonMap = { [key: string]: Json };

/** Lists that strategic merge joins by a key; a list without one is replaced (core/v1 types.go, patchMergeKey). */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  conditions: "type",
  addresses: "type",
  containers: "name",
  env: "name",
  ports: "containerPort",
};

/** Lists of plain values that strategic merge joins. */
const MERGED_SETS = new Set(["podCIDRs", "finalizers"]);

/** Applies a patch of a content type. @throws {StatusError} For what the API server refuses. */
export function applyPatch<T extends object>(target: T, patch: unknown, contentType: string): T {
  const type = contentType.split(";")[0]!.trim();
  if (type === "application/merge-patch+json") return merge(target as Json, patch as Json) as T;
  if (type === "application/strategic-merge-patch+json") return strategic(target as Json, patch as Json) as T;
  if (type === "application/json-patch+json") return jsonPatch(target as Json, patch as JsonMap[]) as T;
  throw new StatusError(
    415,
    "UnsupportedMediaType",
    `the body of the request was in an unknown format: ${type}`,
  );
}

function isMap(value: Json | undefined): value is JsonMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function merge(target: Json, patch: Json): Json {
  if (!isMap(patch)) return patch;
  const result: JsonMap = isMap(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key] ?? null, value);
  }
  return result;
}

function strategic(target: Json, patch: Json): Json {
  if (!isMap(patch)) return patch;
  const { $patch: directive, ...fields } = patch;
  if (directive === "replace") return fields;
  const result: JsonMap = isMap(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(fields)) {
    // Directives about order and deletion say nothing that these types need.
    if (key.startsWith("$")) continue;
    if (value === null) delete result[key];
    else if (Array.isArray(value)) result[key] = strategicList(key, result[key], value);
    else result[key] = strategic(result[key] ?? null, value);
  }
  return result;
}

function strategicList(name: string, target: Json | undefined, patch: Json[]): Json[] {
  const before = Array.isArray(target) ? target : [];
  const mergeKey = MERGE_KEYS[name];
  if (MERGED_SETS.has(name)) return [...new Set([...before, ...patch])];
  if (mergeKey === undefined) return patch;
  const result = [...before];
  for (const item of patch) {
    if (!isMap(item) || item[mergeKey] === undefined) {
      throw new StatusError(
        422,
        "Invalid",
        `map: ${JSON.stringify(item)} does not contain declared merge key: ${mergeKey}`,
      );
    }
    const at = result.findIndex((one) => isMap(one) && one[mergeKey] === item[mergeKey]);
    if (item["$patch"] === "delete") at >= 0 && result.splice(at, 1);
    else if (at >= 0) result[at] = strategic(result[at]!, item);
    else result.push(strategic({}, item));
  }
  return result;
}

function jsonPatch(target: Json, operations: readonly JsonMap[]): Json {
  const result = structuredClone(target);
  for (const { op, path, value } of operations) {
    const names = String(path).split("/").slice(1).map((part) =>
      part.replaceAll("~1", "/").replaceAll("~0", "~")
    );
    const last = names.pop()!;
    const parent = names.reduce<Json | undefined>((at, name) => isMap(at) ? at[name] : undefined, result);
    if (!isMap(parent)) throw new StatusError(422, "Invalid", `jsonpatch: ${path}: missing path`);
    if (op === "add" || op === "replace") parent[last] = value ?? null;
    else if (op === "remove") delete parent[last];
    else throw new StatusError(422, "Invalid", `jsonpatch: operation ${op} isn't built in`);
  }
  return result;
}
