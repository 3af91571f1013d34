import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { openSqliteStore } from "../../lib/leases/sqlite_store.ts";
import { HISTORY } from "../../lib/leases/sqlite/database.ts";
import { type LeaseStore, StoreError } from "../../lib/leases/types.ts";
import { type StoreFixture, testStore } from "./store_conformance.ts";

testStore("sqlite", false, async (): Promise<StoreFixture> => {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-sqlite-" });
  const path = `${folder}/new/folder/store.db`;
  const stores: LeaseStore[] = [];
  return {
    async open() {
      const store = await openSqliteStore(path);
      stores.push(store);
      return store;
    },
    async compact(store) {
      // History is bounded: so many changes push the old ones out.
      for (let i = 0; i <= HISTORY; i++) await store.writeConfig(`${i}`);
    },
    putMany(leases) {
      using db = new DatabaseSync(path);
      db.exec("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE");
      const { value } = db.prepare("SELECT value FROM counters WHERE name = 'revision'").get() as {
        value: number;
      };
      const entry = db.prepare("INSERT INTO entries (key, value, revision, created) VALUES (?, ?, ?, ?)");
      const change = db.prepare("INSERT INTO changes (revision, key, value, expires) VALUES (?, ?, ?, 0)");
      for (const lease of leases) {
        const bytes = new TextEncoder().encode(lease.value);
        entry.run(`subnets/${lease.key}`, bytes, value + 1, value + 1);
        change.run(value + 1, `subnets/${lease.key}`, bytes);
      }
      db.exec("UPDATE counters SET value = value + 1 WHERE name = 'revision'; COMMIT");
      return Promise.resolve();
    },
    async [Symbol.asyncDispose]() {
      for (const store of stores) await store[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
});

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-sqlite-" });
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("sqlite: the file is for its owner alone", () =>
  withFolder(async (folder) => {
    await using store = await openSqliteStore(`${folder}/a/store.db`);
    await store.writeConfig("{}");
    for (const name of ["store.db", "store.db-wal", "store.db-shm"]) {
      assert.equal((await Deno.stat(`${folder}/a/${name}`)).mode! & 0o777, 0o600, name);
    }
    assert.equal((await Deno.stat(`${folder}/a`)).mode! & 0o777, 0o700);
  }));

Deno.test("sqlite: a file that isn't a store is named, with what to do", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/text`, "no database\n".repeat(1000));
    new DatabaseSync(`${folder}/foreign`).exec("CREATE TABLE t (a)");
    await Deno.mkdir(`${folder}/folder`);
    for (const name of ["text", "foreign", "folder", "text/below"]) {
      await assert.rejects(openSqliteStore(`${folder}/${name}`), (error: Error) => {
        assert.ok(error instanceof StoreError, String(error));
        assert.ok(error.message.includes(`${folder}/${name}`), error.message);
        return true;
      });
    }
    assert.equal(await Deno.readTextFile(`${folder}/text`), "no database\n".repeat(1000));
  }));

Deno.test("sqlite: a file that becomes corrupt is named", () =>
  withFolder(async (folder) => {
    const path = `${folder}/store.db`;
    {
      await using store = await openSqliteStore(path);
      for (let i = 0; i < 500; i++) await store.createLease(`10.5.${i}.0-24`, "x".repeat(500), undefined);
    }
    const bytes = await Deno.readFile(path);
    bytes.fill(0x5a, 4096);
    await Deno.writeFile(path, bytes);
    await assert.rejects(async () => {
      await using store = await openSqliteStore(path);
      await store.listLeases();
    }, { name: "StoreError" });
  }));

Deno.test("sqlite: processes that start at once on a new file all get in, and one key goes to one", () =>
  withFolder(async (folder) => {
    const module = new URL("../../lib/leases/sqlite_store.ts", import.meta.url);
    const config = new URL("../../deno.json", import.meta.url);
    const script = `import { openSqliteStore } from "${module}";
      await using store = await openSqliteStore(Deno.args[0]);
      console.log(await store.createLease("10.5.1.0-24", Deno.args[1], 60) ? "won" : "lost");`;
    await Deno.writeTextFile(`${folder}/main.ts`, script);
    const outputs = await Promise.all(Array.from({ length: 4 }, (_, i) =>
      new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "-A",
          "--no-check",
          "--config",
          config.pathname,
          `${folder}/main.ts`,
          `${folder}/store.db`,
          `${i}`,
        ],
        stdout: "piped",
        stderr: "piped",
      }).output()));
    const texts = outputs.map(({ stdout, stderr }) =>
      new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr)
    );
    assert.deepEqual(texts.sort(), ["lost\n", "lost\n", "lost\n", "won\n"]);
  }));

Deno.test("sqlite: another process's change is seen within a second", () =>
  withFolder(async (folder) => {
    await using store = await openSqliteStore(`${folder}/store.db`);
    await using other = await openSqliteStore(`${folder}/store.db`);
    const { revision } = await store.listLeases();
    const stop = new AbortController();
    let written = Infinity;
    for await (const batch of store.watchLeases(revision, { signal: stop.signal })) {
      if (batch.events.length > 0) break;
      written = performance.now();
      await other.createLease("10.5.1.0-24", "{}", 60);
    }
    assert.ok(performance.now() - written < 1000);
  }));

Deno.test("sqlite: a file of version 1 is used, and its leases count as created at their last change", () =>
  withFolder(async (folder) => {
    const path = `${folder}/store.db`;
    using old = new DatabaseSync(path);
    old.exec(`
      CREATE TABLE entries (
        key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL, expires_at INTEGER
      ) WITHOUT ROWID;
      CREATE INDEX entries_by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
      CREATE TABLE changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT, revision INTEGER NOT NULL, key TEXT NOT NULL, value BLOB,
        expires INTEGER NOT NULL
      );
      CREATE INDEX changes_by_revision ON changes (revision);
      CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
      INSERT INTO counters VALUES ('revision', 7), ('compacted', 1);
      INSERT INTO entries VALUES ('subnets/10.5.1.0-24', CAST('{}' AS BLOB), 7, NULL);
      INSERT INTO changes (revision, key, value, expires) VALUES (7, 'subnets/10.5.1.0-24', CAST('{}' AS BLOB), 0);
      PRAGMA application_id = ${0x666c616e};
      PRAGMA user_version = 1;
    `);
    for (let opened = 0; opened < 2; opened++) {
      await using store = await openSqliteStore(path);
      const { leases } = await store.listLeases();
      assert.deepEqual(leases, [
        { key: "10.5.1.0-24", value: "{}", revision: 7n, createRevision: 7n, expires: false },
      ]);
    }
  }));

/** Another process in the middle of a transaction. */
function lockFile(path: string): { release(): void } {
  const other = new DatabaseSync(path);
  other.exec("BEGIN IMMEDIATE");
  return {
    release() {
      other.exec("COMMIT");
      other.close();
    },
  };
}

Deno.test("sqlite: another process's lock never stops the event loop, and the write is done after it", () =>
  withFolder(async (folder) => {
    const path = `${folder}/store.db`;
    await using store = await openSqliteStore(path);
    const lock = lockFile(path);
    const writing = store.createLease("10.5.1.0-24", "{}", 60);
    let turns = 0;
    for (const end = performance.now() + 500; performance.now() < end; turns++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    // Some 400; a wait for the lock would be one turn of the loop.
    assert.ok(turns > 20, `the event loop made ${turns} turns in 500 ms`);
    lock.release();
    assert.equal((await writing)?.key, "10.5.1.0-24");
  }));

Deno.test("sqlite: a lock that stays fails the call after its time, and the signal ends the wait", () =>
  withFolder(async (folder) => {
    const path = `${folder}/store.db`;
    await using store = await openSqliteStore(path);
    const lock = lockFile(path);
    try {
      await assert.rejects(store.writeConfig("{}", { timeoutMs: 50 }), { name: "LockedError" });
      const signal = AbortSignal.timeout(20);
      await assert.rejects(store.createLease("10.5.1.0-24", "{}", 60, { signal }), { name: "TimeoutError" });
    } finally {
      lock.release();
    }
    await store.writeConfig("{}");
  }));

for (
  const [what, change] of [
    ["deleted", (path: string) => Deno.remove(path)],
    ["replaced", async (path: string) => {
      await Deno.copyFile(path, `${path}.copy`);
      await Deno.rename(`${path}.copy`, path);
    }],
  ] as const
) {
  Deno.test(`sqlite: a file that is ${what} while it is in use ends every call and watch`, () =>
    withFolder(async (folder) => {
      const path = `${folder}/store.db`;
      await using store = await openSqliteStore(path);
      const held = (await store.createLease("10.5.1.0-24", "{}", 60))!;
      const watching = (async () => {
        for await (const _ of store.watchLeases(held.revision)) { /* nothing changes */ }
      })();
      const expected = { name: "StoreGoneError", message: new RegExp(`store\\.db was ${what} while`) };
      const ends = assert.rejects(watching, expected);
      await change(path);
      await ends;
      await assert.rejects(store.renewLease(held, 60), expected);
      await assert.rejects(store.listLeases(), expected);
    }));
}
