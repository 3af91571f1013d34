/**
 * Objects of a fake API server, with the versions, history and watches of the real one.
 *
 * @module
 */

/** Prefix of flannel's annotations. */
export const FLANNEL_PREFIX = "flannel.alpha.coreos.com/";

/** Events that are kept: the real server's watch cache has a bound, too. */
const HISTORY = 20_000;

/** An object as the API has it. */
export interface KubeObject {
  kind?: string;
  apiVersion?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    creationTimestamp?: string;
    annotations?: Record<string, string>;
    labels?: Record<string, string>;
    [field: string]: unknown;
  };
  [field: string]: unknown;
}

/** One change as a watch sees it. */
export interface StoredEvent {
  readonly version: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly resource: string;
  readonly object: KubeObject;
}

/** A metav1.Status that ends a request. */
export class StatusError extends Error {
  constructor(
    readonly code: number,
    readonly reason: string,
    message: string,
    readonly metadata: object = {},
  ) {
    super(message);
  }

  /** The Status object. */
  get body(): object {
    const { message, reason, code, metadata } = this;
    return { kind: "Status", apiVersion: "v1", metadata, status: "Failure", message, reason, code };
  }
}

/** Everything that the server holds. Values that come in or go out are copies. */
export class ObjectStore {
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #watchers = new Set<(event: StoredEvent) => void>();
  #history: StoredEvent[] = [];
  #version = 1_000;
  #oldest = 0;

  /** The version of the last change. */
  get version(): number {
    return this.#version;
  }

  /** The oldest version from which a watch can go on. */
  get oldest(): number {
    return this.#oldest;
  }

  /** All objects of a resource by key (`name` or `namespace/name`), in the order of their keys. */
  list(resource: string): KubeObject[] {
    const table = this.#objects.get(resource) ?? new Map<string, KubeObject>();
    return [...table].sort(([a], [b]) => a < b ? -1 : 1).map(([, object]) => object);
  }

  get(resource: string, key: string): KubeObject {
    const found = this.#objects.get(resource)?.get(key);
    if (!found) throw notFound(resource, key);
    return found;
  }

  create(resource: string, object: KubeObject): KubeObject {
    const key = keyOf(object);
    if (this.#objects.get(resource)?.has(key)) {
      throw new StatusError(409, "AlreadyExists", `${resource} "${key}" already exists`);
    }
    const metadata = {
      ...object.metadata,
      uid: crypto.randomUUID(),
      creationTimestamp: new Date().toISOString().replace(/\.\d+/, ""),
    };
    return this.#write("ADDED", resource, { ...object, metadata });
  }

  /** Puts a new state of an object; one that says the same is no change. */
  update(resource: string, object: KubeObject): KubeObject {
    const before = this.get(resource, keyOf(object));
    const given = object.metadata.resourceVersion;
    if (given !== undefined && given !== before.metadata.resourceVersion) {
      throw new StatusError(
        409,
        "Conflict",
        `the object has been modified; please apply your changes to the latest version`,
      );
    }
    const { uid, creationTimestamp, resourceVersion } = before.metadata;
    const same = {
      ...object,
      metadata: { ...object.metadata, uid, creationTimestamp, resourceVersion },
    } as KubeObject;
    if (JSON.stringify(same) === JSON.stringify(before)) return before;
    return this.#write("MODIFIED", resource, same);
  }

  /** As {@link update} for a state that is known to differ: it costs no comparison. */
  put(resource: string, object: KubeObject): KubeObject {
    return this.#write("MODIFIED", resource, object);
  }

  delete(resource: string, key: string): KubeObject {
    const before = this.get(resource, key);
    this.#objects.get(resource)!.delete(key);
    const object = this.#stamp(before);
    this.#notify({ version: this.#version, type: "DELETED", resource, object });
    return object;
  }

  /** Changes after a version, in their order. */
  eventsAfter(resource: string, version: number): StoredEvent[] {
    return this.#history.filter((event) => event.resource === resource && event.version > version);
  }

  /** Calls back with each change from now on. */
  watch(onEvent: (event: StoredEvent) => void): Disposable {
    this.#watchers.add(onEvent);
    return { [Symbol.dispose]: () => void this.#watchers.delete(onEvent) };
  }

  /** Forgets history: versions before the present one can't be watched or continued from. */
  compact(): void {
    this.#history = [];
    this.#oldest = this.#version;
  }

  /** As after a restore from a backup: the same objects, with versions that begin again at a lower number. */
  rewind(version: number): void {
    this.#version = version;
    this.#oldest = version;
    this.#history = [];
    for (const table of this.#objects.values()) {
      for (const [key, object] of table) table.set(key, this.#stamp(object));
    }
  }

  #write(type: "ADDED" | "MODIFIED", resource: string, object: KubeObject): KubeObject {
    const stored = this.#stamp(object);
    const table = this.#objects.get(resource) ?? new Map<string, KubeObject>();
    this.#objects.set(resource, table.set(keyOf(object), stored));
    this.#notify({ version: this.#version, type, resource, object: stored });
    return stored;
  }

  #stamp(object: KubeObject): KubeObject {
    const resourceVersion = String(++this.#version);
    return { ...object, metadata: { ...object.metadata, resourceVersion } };
  }

  #notify(event: StoredEvent): void {
    this.#history.push(event);
    if (this.#history.length > HISTORY * 1.5) {
      this.#history = this.#history.slice(-HISTORY);
      this.#oldest = this.#history[0]!.version - 1;
    }
    for (const watcher of [...this.#watchers]) watcher(event);
  }
}

/** An object's key within its resource. */
export function keyOf({ metadata }: KubeObject): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}

function notFound(resource: string, key: string): StatusError {
  return new StatusError(404, "NotFound", `${resource} "${key.split("/").at(-1)}" not found`);
}
