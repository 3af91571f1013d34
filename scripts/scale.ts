/**
 * How far one network goes: leases, hosts, and changes.
 *
 *     deno task scale [joins|hosts|churn]… [--sizes=0,20000,50000,100000] [--hosts=5000] [--within=60]
 *                     [--rate=500] [--seconds=20] [--write]
 *
 * Without a name all parts run, one after the other, in network namespaces of their own. FLANNELD_BINARY names the
 * executable to run in place of the checkout. `--write` puts the tables into docs/scale.md and the plots beside it.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeMachine } from "../tests/bench/machine.ts";
import { markdownTable } from "./demo/table.ts";
import { removeLeftovers } from "./lab/leftovers.ts";
import { runChurn } from "./scale/churn.ts";
import { runHosts } from "./scale/join_hosts.ts";
import { runJoins } from "./scale/join_sizes.ts";
import { renderPlot } from "./scale/plot.ts";
import type { ScaleOptions, Section } from "./scale/types.ts";

const PARTS: Readonly<Record<string, (options: ScaleOptions) => Promise<Section>>> = {
  joins: runJoins,
  hosts: runHosts,
  churn: runChurn,
};

const DOCS = fileURLToPath(new URL("../docs/", import.meta.url));

function readOptions(args: string[]): { names: string[]; write: boolean; options: ScaleOptions } {
  const text = (value: string) => ({ type: "string", default: value }) as const;
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      sizes: text("0,20000,50000,100000"),
      hosts: text("5000"),
      within: text("60"),
      rate: text("500"),
      seconds: text("20"),
      write: { type: "boolean", default: false },
    },
  });
  for (const name of positionals) {
    if (!Object.hasOwn(PARTS, name)) {
      throw new Error(
        `There is no part ${JSON.stringify(name)}: must be one of ${Object.keys(PARTS).join(", ")}`,
      );
    }
  }
  const number = (name: "hosts" | "within" | "rate" | "seconds"): number => {
    const value = Number(values[name]);
    if (!(value > 0)) throw new Error(`--${name}=${values[name]}: must be a number above 0`);
    return value;
  };
  const options = {
    sizes: values.sizes.split(",").map(Number).toSorted((a, b) => a - b),
    ...{ hosts: number("hosts"), within: number("within"), rate: number("rate"), seconds: number("seconds") },
  };
  return { names: positionals.length > 0 ? positionals : Object.keys(PARTS), write: values.write, options };
}

/** The section as Markdown. */
function render({ title, columns, rows, notes = [] }: Section, machine: string): string {
  const table = markdownTable(columns.map((name, i) => ({ title: name, align: i ? "right" : "left" })), rows);
  return [`${title} (${machine}):`, table, ...notes].join("\n\n");
}

/** Puts a part's figures between its two marks in docs/scale.md, and its plot beside that. */
async function write(name: string, text: string, { plot }: Section): Promise<void> {
  const path = `${DOCS}scale.md`;
  const page = await Deno.readTextFile(path);
  const marked = new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- end of ${name} -->)`);
  if (!marked.test(page)) throw new Error(`${path} has no place for the part ${name}`);
  const image = plot ? `\n![${name}](scale-${name}.svg)\n` : "";
  await Deno.writeTextFile(
    path,
    page.replace(marked, (_, head, tail) => `${head}\n${text}\n${image}\n${tail}`),
  );
  if (plot) await Deno.writeTextFile(`${DOCS}scale-${name}.svg`, renderPlot(plot));
}

async function main(args: string[]): Promise<number> {
  if (Deno.uid() !== 0) {
    console.error("The scale run makes network namespaces, and that needs root.");
    return 1;
  }
  const { names, write: toDocs, options } = readOptions(args);
  await removeLeftovers();
  for (const name of names) {
    const section = await PARTS[name]!(options);
    const text = render(section, describeMachine(new Date()));
    console.log(`\n${text}\n`);
    if (toDocs) await write(name, text, section);
  }
  return 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    console.error(`scale: ${error instanceof Error ? error.message : error}`);
    Deno.exit(1);
  }
}
