/**
 * What is made of the program's declarations: docs/configuration.md, the man pages, and the table of docs/metrics.md.
 *
 *     deno task docs
 *
 * `tests/unit/docs_reference_test.ts` fails when a file isn't current.
 *
 * @module
 */
import { fromFileUrl, join } from "./build/paths.ts";
import { configurationPage } from "./docs/markdown.ts";
import { configPage, daemonPage } from "./docs/man.ts";
import { readReference } from "./docs/reference.ts";
import { declaredMetrics, METRICS_PAGE, withTable } from "./metrics_table.ts";
import { VERSION } from "../lib/version.ts";

const ROOT = fromFileUrl(new URL("..", import.meta.url)).replace(/\/$/, "");

/** Every generated file of the reference, by its path in the checkout. */
export async function referenceFiles(): Promise<Readonly<Record<string, string>>> {
  const reference = await readReference();
  return {
    "docs/configuration.md": configurationPage(reference),
    "packaging/man/flanneld.8": daemonPage(reference, VERSION),
    "packaging/man/flanneld-config.5": configPage(reference, VERSION),
  };
}

if (import.meta.main) {
  for (const [path, text] of Object.entries(await referenceFiles())) {
    await Deno.writeTextFile(join(ROOT, path), text);
    console.log(path);
  }
  const metrics = await Deno.readTextFile(METRICS_PAGE);
  await Deno.writeTextFile(METRICS_PAGE, withTable(metrics, await declaredMetrics()));
  console.log("docs/metrics.md");
}
