/**
 * The version: from `deno.json`, the only place where it stands, with the commit.
 *
 * @module
 */
import config from "../deno.json" with { type: "json" };
import { headCommit } from "./git_head.ts";

/** The build puts the commit here; in a checkout it is read from `.git`. */
const BUILT_FROM = "@COMMIT@";

/** For example `0.1.0`. */
export const VERSION: string = config.version;

/** The first twelve digits of the commit, or undefined where it isn't known. */
export const COMMIT: string | undefined = commit();

/** What `flanneld -version` prints, by the rules of semantic versions: `0.1.0+1a2b3c4d5e6f`, or `0.1.0`. */
export const VERSION_TEXT: string = COMMIT === undefined ? VERSION : `${VERSION}+${COMMIT}`;

function commit(): string | undefined {
  if (/^[0-9a-f]{12}/.test(BUILT_FROM)) return BUILT_FROM.slice(0, 12);
  if (!BUILT_FROM.startsWith("@")) return undefined;
  const root = import.meta.dirname;
  return root === undefined ? undefined : headCommit(`${root}/../.git`, readOptional)?.slice(0, 12);
}

function readOptional(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    // No checkout, or one of another form: the version does without the commit.
    return undefined;
  }
}
