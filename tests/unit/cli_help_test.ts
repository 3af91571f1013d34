import assert from "node:assert/strict";
import { completionScript } from "../../lib/cli/completion.ts";
import { helpText } from "../../lib/cli/help.ts";
import { BACKENDS } from "../../backends/registry.ts";
import { COMMAND_NAMES, SHELLS } from "../../lib/options/commands.ts";
import { OPTIONS } from "../../lib/options/table.ts";

const TABLE = { ...OPTIONS, ...BACKENDS.options };
const OPTION_NAMES = Object.keys(TABLE);

Deno.test("help: names every option and command, in lines that fit a terminal", () => {
  const text = helpText(TABLE);
  for (const name of OPTION_NAMES) assert.match(text, new RegExp(`^  -${name}( |$)`, "m"));
  for (const name of COMMAND_NAMES) assert.match(text, new RegExp(`^  ${name} `, "m"));
  for (const line of text.split("\n")) assert(line.length <= 110, line);
  assert.match(text, /-subnet-lease-ttl DURATION +How long .* \(default: 24h\)/);
});

Deno.test("completion: names every option, for every shell", () => {
  for (const shell of SHELLS) {
    const script = completionScript(shell, TABLE);
    const dash = shell === "fish" ? "-o " : "-";
    for (const name of OPTION_NAMES) assert(script.includes(`${dash}${name}`), `${shell}: ${name}`);
  }
  assert.throws(() => completionScript("tcsh", TABLE), RangeError);
});

/** What bash offers for the last of `words`. */
async function complete(words: string[]): Promise<string[]> {
  const script = `${completionScript("bash", TABLE)}
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _flanneld; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const command = new Deno.Command("bash", { args: ["-c", script, "bash", "flanneld", ...words] });
  const { stdout, stderr } = await command.output();
  assert.equal(new TextDecoder().decode(stderr), "");
  return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
}

Deno.test("completion: bash offers what fits", async () => {
  const table: [string[], string[]][] = [
    [["-etcd-e"], ["-etcd-endpoints"]],
    [["st"], ["status"]],
    [["config", ""], ["set", "get", "check"]],
    [["-log-format", "j"], ["json"]],
    [["completion", "f"], ["fish"]],
    [["-healthz-port", ""], []],
  ];
  for (const [words, expected] of table) assert.deepEqual(await complete(words), expected, words.join(" "));
  // What else there is depends on the machine.
  assert((await complete(["-iface", "l"])).includes("lo"));
  assert((await complete(["-subnet-file", "/et"])).includes("/etc"));
});
