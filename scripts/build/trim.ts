/**
 * What packages load or do at start and the program never uses, taken out of the bundle. Pure text in, text out.
 *
 * Each change must find its place: where a package or the bundler has changed, the build ends, and doesn't make a slower
 * or broken program.
 *
 * @module
 */
import { replaceModules } from "./rewrite.ts";

/** A module of a package, by its path in the bundle, and the body that is enough. */
interface UnusedModule {
  readonly path: RegExp;
  readonly body: string;
}

/** Something else that changes. */
interface TextChange {
  readonly what: string;
  readonly pattern: RegExp;
  readonly replacement: string;
}

const UNUSED_MODULES: readonly UnusedModule[] = [
  { path: /\/@googleapis\/compute\/[^/]+\/build\/alpha\.js$/, body: "exports.compute_alpha = {};" },
  { path: /\/@googleapis\/compute\/[^/]+\/build\/beta\.js$/, body: "exports.compute_beta = {};" },
];

const TEXT_CHANGES: readonly TextChange[] = [
  {
    // As the bundler writes it, every start loads node:module and with it all of Node's foundations, -version too:
    // 25 of its 40 ms.
    what: "the bundle's require of Node's own modules loads them when it is called",
    pattern:
      /^import \{ createRequire as (\w+) \} from "node:module";\nvar __require = \1\(import\.meta\.url\);$/gm,
    replacement: `var __require = (id) => {
  const module = globalThis.process.getBuiltinModule(id);
  if (module === undefined) throw new Error("Cannot find module " + id);
  return module;
};`,
  },
  {
    what: "ip-address is loaded with the first text of an IPv6 address",
    pattern: /^var import_ip_address = __toESM\(require_ip_address\(\)(?:, 1)?\);$/gm,
    replacement: "var import_ip_address = { get Address6() { return require_ip_address().Address6; } };",
  },
];

/**
 * Trims all files of a bundle.
 *
 * @param texts by any name
 * @throws {Error} If a change finds no place in any of them.
 */
export function trimPackages(texts: ReadonlyMap<string, string>): Map<string, string> {
  const open = new Set<string>([
    ...UNUSED_MODULES.map(({ path }) => `module ${path.source}`),
    ...TEXT_CHANGES.map(({ what }) => what),
  ]);
  const trimmed = new Map<string, string>();
  for (const [name, text] of texts) {
    let out = replaceModules(text, (path) => {
      const unused = UNUSED_MODULES.find((each) => each.path.test(path));
      if (unused) open.delete(`module ${unused.path.source}`);
      return unused?.body;
    });
    for (const { what, pattern, replacement } of TEXT_CHANGES) {
      const changed = out.replaceAll(pattern, replacement);
      if (changed !== out) open.delete(what);
      out = changed;
    }
    trimmed.set(name, out);
  }
  if (open.size > 0) {
    throw new Error(
      `Cannot trim the bundle, a package or the bundler has changed: adapt scripts/build/trim.ts. ` +
        `No place found for: ${[...open].join("; ")}`,
    );
  }
  return trimmed;
}
