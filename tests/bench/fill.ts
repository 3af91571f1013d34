/**
 * Fills a lab's etcd with leases of peers that aren't there.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { Lab } from "../../scripts/lab/lab.ts";
import type { FillTimes } from "./fill_etcd.ts";

const FILL = fileURLToPath(new URL("./fill_etcd.ts", import.meta.url));

/** Runs fill_etcd.ts with these words where the lab's etcd is. */
export async function fill(lab: Lab, ...words: (string | number)[]): Promise<FillTimes> {
  const command = [Deno.execPath(), "run", "-A", "--no-lock", FILL, lab.etcd.endpoint, ...words.map(String)];
  const { stdout } = await lab.switch.exec(command);
  return JSON.parse(stdout);
}
