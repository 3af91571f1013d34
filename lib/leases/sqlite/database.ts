/**
 * The file of the embedded store: its tables, and transactions that count revisions.
 *
 * Every transaction that changes something gets the next revision. What it changed stands in a log of bounded
 * length, from which watchers of any process read on; what is no longer in the log is compacted.
 *
 * @module
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { StoreError, StoreGoneError } from "../types.ts";

/** Marks the file as ours (SQLite's application_id): "flan". */
const APPLICATION_ID = 0x666c616e;
const SCHEMA_VERSION = 2;
/** Changes that are kept for watchers. */
export const HISTORY = 10_000;

const SCHEMA = `
  CREATE TABLE entries (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL, expires_at INTEGER,
    created INTEGER NOT NULL DEFAULT 0
  ) WITHOUT ROWID;
  CREATE INDEX entries_by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
  CREATE TABLE changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, revision INTEGER NOT NULL, key TEXT NOT NULL, value BLOB,
    expires INTEGER NOT NULL, created INTEGER NOT NULL DEFAULT 0
  );
  CREATE INDEX changes_by_revision ON changes (revision);
  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT INTO counters VALUES ('revision', 1), ('compacted', 1);
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/** From version 1: keys that were created before it count as created at their last change. */
const MIGRATION = `
  ALTER TABLE entries ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
  UPDATE entries SET created = revision;
  ALTER TABLE changes ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
  UPDATE changes SET created = revision;
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/** A row of the table of what is there now. Values are UTF-8: node:sqlite cuts text at a NUL. */
export interface Entry {
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
  /** Revision at which the key was created. */
  readonly created: number;
  /** Milliseconds since 1970; null for what never expires. */
  readonly expires_at: number | null;
}

/** A row of the log. */
export interface Change {
  readonly revision: number;
  readonly key: string;
  /** Null for a deletion. */
  readonly value: Uint8Array | null;
  readonly expires: number;
  readonly created: number;
}

/** A value's text. */
export function textOf(value: Uint8Array): string {
  return new TextDecoder().decode(value);
}

/** Writes within a transaction. */
export interface Writer {
  readonly revision: number;
  /** @param created Revision at which the key was created; undefined: now. */
  put(key: string, value: string, expiresAt: number | null, created?: number): void;
  delete(key: string): void;
}

/**
 * The open file. Calls are synchronous and never wait for another process: they take microseconds, or fail with
 * {@link LockedError}. Every call looks whether the file is still the one that was opened.
 */
export class Database implements Disposable {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #file: FileId | undefined;

  private constructor(readonly path: string) {
    this.#file = fileId(path);
    this.#db = new DatabaseSync(path);
  }

  /**
   * Opens the file, makes it (0600) and its folder if they aren't there.
   *
   * @throws {StoreError} If it can't be opened or is no such file. @throws {LockedError}
   */
  static open(path: string): Database {
    makeFile(path);
    return guarded(path, () => {
      const database = new Database(path);
      try {
        database.#prepare();
        return database;
      } catch (error) {
        database.#db.close();
        throw error;
      }
    });
  }

  #prepare(): void {
    this.#db.exec("PRAGMA busy_timeout = 0; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    this.#transaction(() => {
      const tables = this.get<{ n: number }>("SELECT count(*) AS n FROM sqlite_schema")!.n;
      if (tables === 0) this.#db.exec(SCHEMA);
      const id = this.get<{ application_id: number }>("PRAGMA application_id")!.application_id;
      let version = this.get<{ user_version: number }>("PRAGMA user_version")!.user_version;
      if (id === APPLICATION_ID && version === 1) {
        this.#db.exec(MIGRATION);
        version = SCHEMA_VERSION;
      }
      if (id !== APPLICATION_ID || version !== SCHEMA_VERSION) {
        throw new StoreError(
          `Cannot use ${this.path} as a store: it is an SQLite file of another program or version ` +
            `(application_id ${id}, user_version ${version}). Name another file`,
        );
      }
    });
  }

  /**
   * SQLite goes on with a file that was deleted or replaced, and nobody else sees what it writes.
   *
   * @throws {StoreGoneError} If the path doesn't lead to the file that is open.
   */
  #checkFile(): void {
    const now = fileId(this.path);
    if (now && now.dev === this.#file?.dev && now.ino === this.#file.ino) return;
    throw new StoreGoneError(
      `The store ${this.path} was ${
        now ? "replaced" : "deleted"
      } while it was in use: leases in it no longer ` +
        "count. Put it back, or start flanneld again to use what is there now",
    );
  }

  /** The first row that a query gives. */
  get<T>(sql: string, ...parameters: (string | number)[]): T | undefined {
    this.#checkFile();
    return guarded(this.path, () => this.#statement(sql).get(...parameters)) as T | undefined;
  }

  /** All rows that a query gives. */
  all<T>(sql: string, ...parameters: (string | number)[]): T[] {
    return guarded(this.path, () => this.#statement(sql).all(...parameters)) as T[];
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, statement = this.#db.prepare(sql));
    return statement;
  }

  /** Revision of the last change, and the revision up to which the log is cut. */
  counters(): { revision: number; compacted: number } {
    const rows = this.all<{ name: string; value: number }>("SELECT name, value FROM counters");
    const value = (name: string) => rows.find((row) => row.name === name)!.value;
    return { revision: value("revision"), compacted: value("compacted") };
  }

  /** A number that changes when another connection has written (not when this one has). */
  dataVersion(): number {
    return this.get<{ data_version: number }>("PRAGMA data_version")!.data_version;
  }

  /** Reads that must agree with each other. */
  read<T>(use: () => T): T {
    return this.#transaction(use, "BEGIN");
  }

  /** One transaction; it takes a revision only if `use` writes something. */
  write<T>(use: (writer: Writer) => T): T {
    return this.#transaction(() => {
      const { revision: last } = this.counters();
      const revision = last + 1;
      let written = false;
      const log = (key: string, value: Uint8Array | null, expires: boolean, created: number) => {
        written = true;
        this.#run(
          "INSERT INTO changes (revision, key, value, expires, created) VALUES (?, ?, ?, ?, ?)",
          ...[revision, key, value, Number(expires), created],
        );
      };
      const result = use({
        revision,
        put: (key, text, expiresAt, created = revision) => {
          const value = new TextEncoder().encode(text);
          this.#run(
            "INSERT OR REPLACE INTO entries (key, value, revision, expires_at, created) VALUES (?, ?, ?, ?, ?)",
            ...[key, value, revision, expiresAt, created],
          );
          log(key, value, expiresAt !== null, created);
        },
        delete: (key) => {
          this.#run("DELETE FROM entries WHERE key = ?", key);
          log(key, null, false, revision);
        },
      });
      if (written) {
        this.#run("UPDATE counters SET value = ? WHERE name = 'revision'", revision);
        this.#compact();
      }
      return result;
    });
  }

  /** Cuts the log, whole revisions at a time. */
  #compact(): void {
    const cut = this.get<{ revision: number }>(
      `SELECT revision FROM changes ORDER BY id DESC LIMIT 1 OFFSET ${HISTORY}`,
    );
    if (!cut) return;
    this.#run("DELETE FROM changes WHERE revision <= ?", cut.revision);
    this.#run("UPDATE counters SET value = ? WHERE name = 'compacted'", cut.revision);
  }

  #run(sql: string, ...parameters: (string | number | null | Uint8Array)[]): void {
    this.#statement(sql).run(...parameters);
  }

  #transaction<T>(use: () => T, begin = "BEGIN IMMEDIATE"): T {
    this.#checkFile();
    return guarded(this.path, () => {
      this.#db.exec(begin);
      try {
        const result = use();
        this.#db.exec("COMMIT");
        return result;
      } catch (error) {
        if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
        throw error;
      }
    });
  }

  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close();
  }
}

/** Another process holds the lock. A later call may succeed. */
export class LockedError extends Error {
  override readonly name = "LockedError";
}

/** Distinguishes what may pass by waiting (a lock) from what doesn't. */
function guarded<T>(path: string, use: () => T): T {
  try {
    return use();
  } catch (cause) {
    if (!isSqlite(cause)) throw cause;
    if (/is locked/.test(cause.message)) {
      throw new LockedError(`${path}: another process holds the lock`, { cause });
    }
    if (/not a database|malformed|unsupported file format/.test(cause.message)) {
      throw new StoreError(
        `Cannot use ${path} as a store: ${cause.message}. Move it away, or name another file`,
        { cause },
      );
    }
    throw new StoreError(`Cannot use ${path} as a store: ${cause.message}`, { cause });
  }
}

function isSqlite(error: unknown): error is Error {
  return error instanceof Error && (error as { code?: unknown }).code === "ERR_SQLITE_ERROR";
}

/** What distinguishes a file from another one of the same name. */
type FileId = Pick<Deno.FileInfo, "dev" | "ino">;

function fileId(path: string): FileId | undefined {
  try {
    const { dev, ino } = Deno.statSync(path);
    return { dev, ino };
  } catch {
    return undefined;
  }
}

/** Makes the file and its folder. @throws {StoreError} */
function makeFile(path: string): void {
  try {
    const folder = path.slice(0, path.lastIndexOf("/"));
    if (folder) Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    Deno.openSync(path, { write: true, create: true, mode: 0o600 }).close();
  } catch (cause) {
    throw new StoreError(`Cannot use ${path} as a store: ${(cause as Error).message}`, { cause });
  }
}
