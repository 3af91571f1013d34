/**
 * Commands without options are about the daemon of this host: they take its options.
 *
 * @module
 */
import { lockHolder } from "../daemon/lock.ts";
import { SystemError } from "../ffi/errno.ts";
import { readKernelFile } from "../ffi/kernel_file.ts";
import { type Environment, type Invocation, parseCommandLine } from "../options/parse.ts";
import { SERVICE_FILE, type ServiceWords, wordsOfFile, wordsOfProcess } from "../options/service_files.ts";
import { type OptionTable, variableOf } from "../options/spec.ts";
import { type Options, withBackendOptions } from "../options/table.ts";
import { UsageError } from "../options/usage_error.ts";

/** The daemon's options that a command may have beside the service's: they say which daemon is meant. */
const WHICH = "subnet-file";

/** A daemon's options, and where they stand. */
interface Found extends ServiceWords {
  readonly source: string;
}

/**
 * Completes what was asked for with the options of the daemon on this host: of the running one, or else of the
 * service's file. Where the command line or the environment has any option of the daemon but -subnet-file, that alone
 * counts: options of two networks don't mix.
 *
 * @throws {UsageError} If the service's own options are wrong, with where they stand.
 */
export function withServiceOptions(
  asked: Invocation,
  environment: Environment,
  backendOptions: OptionTable,
): Invocation {
  const names = Object.keys(withBackendOptions(backendOptions)).filter((name) => name !== WHICH);
  if (names.some((name) => asked.typed.has(name))) return asked;
  const found = findProcess(asked.options) ?? findFile();
  if (found === undefined) return asked;
  // In a container a command has the daemon's own variables.
  const isOther = (variable: string) =>
    environment[variable] && environment[variable] !== found.environment[variable];
  if (names.some((name) => isOther(variableOf(name)))) return asked;
  const options = optionsOf(found, backendOptions);
  // The file's daemon, where another one is meant.
  if (asked.given.has(WHICH) && options.subnetFile !== asked.options.subnetFile) return asked;
  return { ...asked, options };
}

function optionsOf({ args, environment, source }: Found, backendOptions: OptionTable): Options {
  try {
    return parseCommandLine(args, environment, backendOptions).options;
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${source}: ${error.message}`);
    throw error;
  }
}

/** The daemon that holds the lock beside the subnet file. */
function findProcess(options: Options): Found | undefined {
  const pid = lockHolder(options, "flanneld");
  if (pid === undefined) return undefined;
  try {
    const words = wordsOfProcess(
      readKernelFile(`/proc/${pid}/cmdline`),
      readKernelFile(`/proc/${pid}/environ`),
    );
    return words && { ...words, source: `process ${pid}` };
  } catch (error) {
    // It ended, or belongs to somebody else.
    if (error instanceof SystemError && ["ENOENT", "ESRCH", "EACCES"].includes(error.code)) return undefined;
    throw error;
  }
}

function findFile(): Found | undefined {
  try {
    return { ...wordsOfFile(Deno.readTextFileSync(SERVICE_FILE)), source: SERVICE_FILE };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) {
      return undefined;
    }
    throw error;
  }
}
