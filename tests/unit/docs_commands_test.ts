/** What the documents name of the program and of the checkout is there: commands, options, tasks. */
import assert from "node:assert/strict";
import { BACKENDS } from "../../backends/registry.ts";
import { COMMAND_NAMES, type CommandName, ownOptions } from "../../lib/options/commands.ts";
import { withBackendOptions } from "../../lib/options/table.ts";
import { filesBelow, readSource } from "./source_files.ts";

/** A decision speaks of its own time, and messages.md shows texts. */
const LEFT_OUT = /^docs\/(?:adr\/0|messages\.md)/;
const LANGUAGES = new Set(["sh", "text", "json", "ini", "yaml"]);

async function pages(): Promise<readonly (readonly [string, string])[]> {
  const paths = [...await filesBelow(["docs"], ".md"), "README.md", "CONTRIBUTING.md"];
  const kept = paths.filter((path) => !LEFT_OUT.test(path));
  return await Promise.all(kept.map(async (path) => [path, await readSource(path)] as const));
}

Deno.test("docs: every block of code is fenced and says its language, so that the walk finds all commands", async () => {
  const faults: string[] = [];
  for (const [path, text] of await pages()) {
    let end = "";
    let list = false;
    text.split("\n").forEach((line, i, lines) => {
      const [, indent, language] = /^( *)```(.*)$/.exec(line) ?? [];
      if (end !== "") {
        if (line === end) end = "";
      } else if (indent !== undefined) {
        end = `${indent}\`\`\``;
        if (!LANGUAGES.has(language!)) faults.push(`${path}:${i + 1}: ${line}`);
      } else {
        // In a list, four blanks are the text of an item, and seven are code.
        list = /^ *(?:-|\d+\.) /.test(line) || list && (line === "" || line.startsWith("  "));
        if (lines[i - 1] === "" && line.startsWith(list ? "       " : "    ")) {
          faults.push(`${path}:${i + 1}: ${line}`);
        }
      }
    });
  }
  assert.deepEqual(faults, []);
});

Deno.test("docs: every deno task that is named is one", async () => {
  const { tasks } = JSON.parse(await readSource("deno.json")) as { tasks: Record<string, unknown> };
  const named = (await pages()).flatMap(([path, text]) =>
    [...text.matchAll(/deno(?:@\S+)? task ([\w:]+)/g)].map(([, task]) => `${path}: ${task}`)
  );
  assert.ok(named.length > 20);
  assert.deepEqual(named.filter((one) => !(one.split(": ")[1]! in tasks)), []);
});

const BLOCK = /^( *)```.*\n([^]*?)^\1```$/gm;

/** What is behind `flanneld` in the page's blocks and in its text's code type. */
function callsOf(page: string): string[] {
  const blocks = [...page.matchAll(BLOCK)].map(([, , block]) => block!);
  const inBlocks = blocks.flatMap((block) => [...block.matchAll(/^ *(?:sudo )?flanneld (-?[a-z].*)$/gm)]);
  // A line's end within code type is a blank.
  const text = page.replaceAll(BLOCK, "").replaceAll(/\s*\n\s*/g, " ");
  const inText = [...text.matchAll(/`(?:sudo )?flanneld (-?[a-z][^`]*)`/g)];
  // What follows in a shell's line is not flanneld's.
  return [...inBlocks, ...inText].map(([, call]) => call!.replace(/ (?:\|\||&&|[|;&>]|#).*$/, ""));
}

const TABLE = withBackendOptions(BACKENDS.options);

/** What is wrong with a call's words; undefined if nothing is. */
function faultOf(call: string): string | undefined {
  const words = call.replaceAll(/[[\]]/g, " ").split(/[\s]+/).filter((word) => word !== "");
  const options = words.filter((word) => /^-[a-z]/i.test(word)).map((word) => word.replace(/^-+|=.*$/g, ""));
  const first = words.findIndex((word) => !/^[a-z]/.test(word));
  const name = (first < 0 ? words : words.slice(0, first)).slice(0, 2);
  const command = [name.join(" "), name[0] ?? ""].find((one) => (COMMAND_NAMES as string[]).includes(one));
  // Alternatives, as in `leases list|show`, each are a command.
  const alternatives = name[1]?.includes("|")
    ? name[1].split("|").map((word) => `${name[0]} ${word.replace("\\", "")}`)
    : [];
  if (alternatives.length > 0) return alternatives.find((one) => !(COMMAND_NAMES as string[]).includes(one));
  if (command === undefined && name.length > 0 && name[0] !== "help") return name.join(" ");
  const own = command === undefined ? {} : ownOptions(command as CommandName);
  return options.find((option) => !(option in TABLE || option in own || option === "help"));
}

Deno.test("docs: every command and option of flanneld that is named exists", async () => {
  const faults: string[] = [];
  let calls = 0;
  for (const [path, text] of await pages()) {
    for (const call of callsOf(text)) {
      calls++;
      const fault = faultOf(call);
      if (fault !== undefined) faults.push(`${path}: ${fault} in: flanneld ${call}`);
    }
  }
  assert.ok(calls > 80, `${calls} calls`);
  assert.deepEqual(faults, []);
});
