/**
 * Opens the lease store on a SQLite file.
 *
 * @module
 */
import { Database } from "./sqlite/database.ts";
import { whenUnlocked } from "./sqlite/patience.ts";
import { SqliteStore } from "./sqlite/store.ts";

/**
 * Opens the store; the file and its folder are made if they aren't there.
 *
 * @param path Of the file, without `sqlite:`.
 * @param now Milliseconds since 1970.
 * @throws {StoreError} If the file can't be used.
 */
export async function openSqliteStore(path: string, now: () => number = Date.now): Promise<SqliteStore> {
  return new SqliteStore(await whenUnlocked(() => Database.open(path)), now);
}
