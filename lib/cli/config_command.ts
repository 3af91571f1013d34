/**
 * `config set FILE|-`, `config get`, `config check FILE|-`.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { readKernelFile } from "../ffi/kernel_file.ts";
import type { BackendRegistry } from "../backend/registry.ts";
import { resolveNetwork } from "../backend/network.ts";
import { UsageError } from "../options/usage_error.ts";
import { describeWrite, openStore } from "../daemon/store.ts";
import type { Invocation } from "../options/parse.ts";

/** Longest wait for a store that doesn't answer: a person is waiting. */
const STORE_TIMEOUT_MS = 10_000;

/** Runs one of the config commands. @throws {ConfigError} With all that is wrong with a config. */
export async function configCommand(
  { command, argument, options }: Invocation,
  backends: BackendRegistry,
): Promise<number> {
  if (command === "config check") {
    const { complete, warnings } = await resolveNetwork(await readText(argument), backends);
    for (const warning of warnings) console.error(`warning: ${warning}`);
    console.log(JSON.stringify(complete, null, 2));
    return 0;
  }
  const text = command === "config set" ? await readText(argument) : undefined;
  if (text !== undefined) {
    const { warnings } = await resolveNetwork(text, backends);
    for (const warning of warnings) console.error(`warning: ${warning}`);
  }
  if (options.kubeSubnetMgr) {
    throw new UsageError(
      `${command}: a cluster's network config isn't in a store. ${describeWrite(options)}`,
    );
  }
  await using store = await openStore(options);
  const timeoutMs = STORE_TIMEOUT_MS;
  if (text !== undefined) {
    await store.writeConfig(text, { timeoutMs });
    return 0;
  }
  const stored = await store.readConfig({ timeoutMs });
  if (!stored) {
    throw new Error(`There is no network config in ${store.description}. ${describeWrite(options)}`);
  }
  console.log(stored.text.trimEnd());
  return 0;
}

async function readText(file: string): Promise<string> {
  if (file === "-") return await new Response(Deno.stdin.readable).text();
  try {
    // Of a shell: <(…). Deno's own calls open nothing there for a program with narrow permissions.
    if (/^\/(dev|proc)\//.test(file)) return readKernelFile(file);
    return await Deno.readTextFile(file);
  } catch (error) {
    const reason = messageOf(error);
    throw new Error(`Cannot read the network config from ${file}: ${reason}`);
  }
}
