/**
 * The table of docs/metrics.md, made of the declarations in the program.
 *
 *     deno run -A scripts/metrics_table.ts           writes it
 *
 * `tests/unit/metrics_table_test.ts` fails when the file isn't current.
 *
 * @module
 */
import { fromFileUrl, join } from "./build/paths.ts";
import { type MetricSpec, unitOf } from "../lib/observe/metric_spec.ts";

const ROOT = fromFileUrl(new URL("..", import.meta.url)).replace(/\/$/, "");

/** The file that the table stands in. */
export const METRICS_PAGE = join(ROOT, "docs/metrics.md");

/** Where the table begins and ends there. */
const BEGIN = "<!-- table -->\n", END = "<!-- /table -->\n";

/** Files whose exports are declarations, beside every metrics.ts. */
const OTHERS = ["lib/observe/problem_metrics.ts"];

async function declaringFiles(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(join(ROOT, folder))) {
    const path = `${folder}/${name}`;
    if (isDirectory) found.push(...await declaringFiles(path));
    else if (name === "metrics.ts") found.push(path);
  }
  return found;
}

/** Every metric that the program declares, in the order of their names. */
export async function declaredMetrics(): Promise<MetricSpec[]> {
  const files = [...OTHERS, ...await declaringFiles("lib"), ...await declaringFiles("backends")];
  const found: MetricSpec[] = [];
  for (const file of files) {
    const module: Record<string, unknown> = await import(new URL(`../${file}`, import.meta.url).href);
    for (const value of Object.values(module)) {
      if (isSpec(value)) found.push(value);
    }
  }
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

function isSpec(value: unknown): value is MetricSpec {
  return typeof value === "object" && value !== null && "kind" in value && "help" in value &&
    "labels" in value;
}

/** The page with its table replaced. @throws {Error} If the page has no place for it. */
export function withTable(page: string, metrics: readonly MetricSpec[]): string {
  const begin = page.indexOf(BEGIN), end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${METRICS_PAGE}: no "${BEGIN.trim()}" … "${END.trim()}"`);
  const rows = metrics.map(({ name, kind, help, labels }) => [
    `\`${name}\``,
    kind,
    unitOf(name) ?? "",
    labels.map((label) => `\`${label}\``).join(", "),
    help.replaceAll("|", "\\|"),
  ]);
  const table = [["name", "kind", "unit", "labels", "what"], ["---", "---", "---", "---", "---"], ...rows]
    .map((cells) => `| ${cells.join(" | ")} |\n`).join("");
  return `${page.slice(0, begin + BEGIN.length)}\n<!-- deno-fmt-ignore -->\n${table}\n${page.slice(end)}`;
}

if (import.meta.main) {
  const page = await Deno.readTextFile(METRICS_PAGE);
  await Deno.writeTextFile(METRICS_PAGE, withTable(page, await declaredMetrics()));
}
