import assert from "node:assert/strict";
import { completionScript } from "../../lib/cli/completion.ts";
import { helpText } from "../../lib/cli/help.ts";
import { BACKENDS } from "../../backends/registry.ts";
import {
  COMMAND_NAMES,
  COMMAND_OPTIONS,
  COMMANDS,
  type CommandSpec,
  ownOptions,
  SHELLS,
} from "../../lib/options/commands.ts";
import { GROUPS } from "../../lib/options/spec.ts";
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

Deno.test("help: of one command: its own options, and those of the daemon's that matter to it", () => {
  for (const name of COMMAND_NAMES.filter((each) => each !== "daemon")) {
    const text = helpText(TABLE, name);
    assert.match(text, new RegExp(`^Usage: flanneld ${name}( |$)`, "m"), name);
    for (const option of Object.keys(ownOptions(name))) {
      assert.match(text, new RegExp(`^  -${option}( |$)`, "m"));
    }
    for (const line of text.split("\n")) assert(line.length <= 110, line);
    const { uses = [] }: CommandSpec = COMMANDS[name];
    for (const use of uses) {
      const isKnown = use.startsWith("-")
        ? Object.hasOwn(TABLE, use.slice(1))
        : GROUPS.some((group) => group === use);
      assert(isKnown, `${name} uses ${use}`);
    }
  }
  assert.match(helpText(TABLE, "cni install"), /-cni-bin-dir FOLDER +Folder .*\(default:/);
  assert.doesNotMatch(helpText(TABLE, "status"), /-etcd-endpoints/);
  assert.match(helpText(TABLE, "config get"), /-etcd-endpoints/);
});

Deno.test("help: of a first word: the commands that begin with it", () => {
  const text = helpText(TABLE, "config");
  for (const name of ["config set", "config get", "config check"]) assert(text.includes(`  ${name} `), name);
  assert.doesNotMatch(text, /cleanup/);
});

Deno.test("completion: names every option, for every shell", () => {
  for (const shell of SHELLS) {
    const script = completionScript(shell, TABLE);
    const dash = shell === "fish" ? "-o " : "-";
    for (const name of [...OPTION_NAMES, ...Object.keys(COMMAND_OPTIONS)]) {
      assert(script.includes(`${dash}${name}`), `${shell}: ${name}`);
    }
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
    // A command's own options are offered with it alone.
    [["-js"], []],
    [["status", "-js"], ["-json"]],
    [["cni", "install", "-cni-b"], ["-cni-bin-dir"]],
  ];
  for (const [words, expected] of table) assert.deepEqual(await complete(words), expected, words.join(" "));
  // What else there is depends on the machine.
  assert((await complete(["-iface", "l"])).includes("lo"));
  assert((await complete(["-subnet-file", "/et"])).includes("/etc"));
});
