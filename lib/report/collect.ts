/**
 * Collecting a report: every item side by side, each within its time and size, without secrets.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { Scene } from "../doctor/scene.ts";
import { ITEMS, type ReportItem } from "./items.ts";
import { Masker, secretFields, secretVariables } from "./mask.ts";

/** How long one item may take, in milliseconds. */
const ITEM_LIMIT_MS = 15_000;

/** How long an item's text may be, in characters; the log and the leases of large networks have millions. */
const ITEM_LENGTH = 8 * 1024 * 1024;

/** What was collected of an item. */
export interface CollectedItem {
  readonly item: ReportItem;
  /** Absent where it can't be had. */
  readonly text?: string;
  /** Why it can't be had, or that it was cut. */
  readonly problem?: string;
}

/** Collects everything. Never rejects. */
export async function collect(scene: Scene, limitMs = ITEM_LIMIT_MS): Promise<CollectedItem[]> {
  const masker = new Masker(await knownSecrets(scene));
  return await Promise.all(ITEMS.map((item) => collectItem(item, scene, masker, limitMs)));
}

async function collectItem(
  item: ReportItem,
  scene: Scene,
  masker: Masker,
  limitMs: number,
): Promise<CollectedItem> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`not there within ${limitMs / 1000} s`)), limitMs);
  try {
    const text = await Promise.race([(async () => await item.collect(scene))(), late]);
    if (text.length <= ITEM_LENGTH) return { item, text: masker.mask(text) };
    // The end of a log is what counts; of the rest the beginning would do as well.
    const problem = `cut to its last ${ITEM_LENGTH} of ${text.length} characters`;
    return { item, text: masker.mask(text.slice(-ITEM_LENGTH)), problem };
  } catch (error) {
    return { item, problem: masker.mask(messageOf(error)) };
  } finally {
    clearTimeout(timer);
  }
}

/** Secrets whose values can be known: they are masked wherever they stand. */
async function knownSecrets(scene: Scene): Promise<string[]> {
  const { options } = scene;
  const { network, text } = await scene.store().catch(() => ({ network: undefined, text: undefined }));
  const files = [
    options.etcdKeyfile,
    ...network?.backend.files?.() ?? [],
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
  ];
  const texts = await Promise.all(files.map((path) => path ? Deno.readTextFile(path).catch(() => "") : ""));
  return [
    options.etcdPassword ?? "",
    ...secretVariables(Deno.env.toObject()),
    ...(text === undefined ? [] : secretFields(text)),
    // A file that isn't a single word is masked by its form (PEM).
    ...texts.filter((content) => content.length < 4096 && !/\s/.test(content.trim())),
  ];
}
