/**
 * Everything that must pass before a commit.
 *
 *     deno task ok          types, lint, format; unit and lab tests
 *     deno task ok --all    and what takes longer: hosts with systemd, another kernel in a virtual machine
 *
 * Ends with the first that fails.
 *
 * @module
 */

const TASKS = ["check", "test"] as const;

/** Every night, and before a release. */
const LONGER = ["test:hosts", "vm"] as const;

/** @returns The exit status. */
async function main(args: readonly string[]): Promise<number> {
  const unknown = args.find((arg) => arg !== "--all");
  if (unknown !== undefined) {
    console.error(`There is no option ${unknown}. deno task ok [--all]`);
    return 2;
  }
  for (const task of args.length > 0 ? [...TASKS, ...LONGER] : TASKS) {
    const { code } = await new Deno.Command(Deno.execPath(), { args: ["task", task] }).spawn().status;
    if (code !== 0) {
      console.error(`deno task ${task} failed`);
      return code;
    }
  }
  return 0;
}

Deno.exit(await main(Deno.args));
