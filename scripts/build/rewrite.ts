/**
 * What has to change in the text of a bundle before it runs from a folder of its own. Pure text in, text out.
 *
 * The bundler leaves as they stood in the source:
 * - addresses of workers and assets relative to the module that is gone,
 * - `__dirname` in packages that were CommonJS, which a module doesn't have,
 * - `import("./chunk.js")` of a chunk that was CommonJS: the chunk has a default export only,
 * - dynamic imports as literals, which Deno loads and parses before the program starts, wanted or not (24 ms more
 *   for `-version`, measured with the three clouds' SDKs).
 *
 * What packages load and nobody needs is {@link ./trim.ts}'s.
 *
 * @module
 */

/** `new URL("x", import.meta.url)`, as the bundler prints it; the specifier is the first group. */
const MODULE_URL = /new URL\("([^"]+)",\s*import\.meta\.url\)/g;

/** `import("./x.js")`; the specifier is the first group. */
const DYNAMIC_IMPORT = /\bimport\("(\.{1,2}\/[^"]+\.js)"\)/g;

/** The export of a chunk that was a CommonJS package. */
const COMMONJS_EXPORT = /^export default require_\w+\(\);$/m;

/** An export of a chunk that was a module: by name. */
const NAMED_EXPORT = /^export \{$/m;

/** The specifiers that a source text resolves against its own address: workers and assets. */
export function moduleUrls(source: string): string[] {
  return [...source.matchAll(MODULE_URL)].map((match) => match[1] ?? "");
}

/**
 * Points {@link moduleUrls} to their new places.
 *
 * @param text of one file of the bundle
 * @param places from the specifier in the source to the specifier seen from this file
 * @throws {Error} if a specifier has no place: the file it means would be missing in the build
 */
export function rewriteModuleUrls(text: string, places: ReadonlyMap<string, string>): string {
  return text.replace(MODULE_URL, (_, specifier: string) => {
    const place = places.get(specifier);
    if (place === undefined) {
      throw new Error(`Cannot place "${specifier}": no module of the program names it by import.meta.url`);
    }
    return `new URL(${JSON.stringify(place)}, import.meta.url)`;
  });
}

/** True if a chunk stands for a CommonJS package: all it has is a default export, `module.exports`. */
export function isCommonJsChunk(text: string): boolean {
  return COMMONJS_EXPORT.test(text) && !NAMED_EXPORT.test(text);
}

/**
 * Makes dynamic imports opaque to Deno's static analysis, and gives those of CommonJS chunks their named exports.
 *
 * @param isCommonJs whether the chunk of that specifier is one of {@link isCommonJsChunk}
 */
export function rewriteDynamicImports(text: string, isCommonJs: (specifier: string) => boolean): string {
  return text.replace(DYNAMIC_IMPORT, (_, specifier: string) => {
    const load = `import(new URL(${JSON.stringify(specifier)}, import.meta.url).href)`;
    return isCommonJs(specifier) ? `${load}.then((m) => ({ ...m.default, default: m.default }))` : load;
  });
}

/** Declares `__dirname` where the text uses it and doesn't declare it. */
export function declareDirname(text: string): string {
  if (!/\b__dirname\b/.test(text) || /\b(?:var|let|const) __dirname\b/.test(text)) return text;
  return `const __dirname = import.meta.dirname;\n${text}`;
}

/** A CommonJS module of a bundle up to its body: indentation and path. */
const COMMONJS_MODULE = /^( *)"([^"\n]+\.(?:c?js|json))"\((?:exports\w*(?:, module\w*)?)?\) \{\n/gm;

/**
 * Replaces the bodies of CommonJS modules.
 *
 * @param bodyFor the new body by the path that the bundler noted for a module; undefined leaves it as it is
 * @throws {Error} if a module doesn't end where the bundler puts its end
 */
export function replaceModules(text: string, bodyFor: (path: string) => string | undefined): string {
  const parts: string[] = [];
  let from = 0;
  for (const match of text.matchAll(COMMONJS_MODULE)) {
    const [head, indent = "", path = ""] = match;
    const body = match.index < from ? undefined : bodyFor(path);
    if (body === undefined) continue;
    const bodyStart = match.index + head.length;
    const end = text.indexOf(`\n${indent}}\n`, bodyStart - 1);
    if (end < 0) throw new Error(`Cannot replace ${path}: its end isn't where the bundler puts it`);
    parts.push(text.slice(from, bodyStart), indent, "  ", body);
    from = end;
  }
  return parts.join("") + text.slice(from);
}

/**
 * Shortens the paths of packages to `npm/name/version/…`: the bundler notes them relative to the build machine's
 * cache, and the same source must give the same bytes on every machine.
 */
export function shortenPackagePaths(text: string): string {
  return text.replace(/(?:\.\.\/)+[^"\n]*?\/npm\/[^/"\n]+\//g, "npm/");
}
