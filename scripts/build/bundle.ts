/**
 * The program as plain JavaScript files: `main.ts`, its workers and all packages, each loaded only when it is needed.
 *
 * The folder that comes out is complete: it runs with `deno run` from anywhere, without a network, a cache or a
 * configuration. Both kinds of executable carry it.
 *
 *     app/main.js         the entry
 *     app/**            workers, chunks, assets
 *
 * @module
 */
import { basename, dirname, fromFileUrl, join, relative } from "./paths.ts";
import {
  declareDirname,
  isCommonJsChunk,
  moduleUrls,
  rewriteDynamicImports,
  rewriteModuleUrls,
  shortenPackagePaths,
} from "./rewrite.ts";
import { run } from "./run.ts";
import { trimPackages } from "./trim.ts";

/** A file of the program that is named by `import.meta.url`: a worker, or an asset. */
interface NamedFile {
  readonly specifier: string;
  /** Absolute path of the source. */
  readonly path: string;
}

interface InfoJson {
  readonly modules: readonly { readonly local?: string; readonly specifier: string }[];
}

/** The local modules that an entry loads, dynamic imports included, as absolute paths. */
async function localModules(root: string, entry: string): Promise<string[]> {
  const info: InfoJson = JSON.parse(await run(root, [Deno.execPath(), "info", "--json", entry]));
  return info.modules.filter((module) => module.specifier.startsWith("file:"))
    .map((module) => fromFileUrl(module.specifier));
}

/**
 * All files that modules of the program name by `import.meta.url`, those that workers name included.
 *
 * @throws {Error} if two modules mean different files by one specifier: in a bundle they couldn't be distinguished
 */
export async function namedFiles(root: string, main: string): Promise<NamedFile[]> {
  const found = new Map<string, NamedFile>();
  const entries = [main];
  const seen = new Set<string>();
  for (let entry = entries.shift(); entry !== undefined; entry = entries.shift()) {
    for (const module of await localModules(root, entry)) {
      if (seen.has(module)) continue;
      seen.add(module);
      for (const specifier of moduleUrls(await Deno.readTextFile(module))) {
        const path = join(dirname(module), specifier);
        const other = found.get(specifier);
        if (other !== undefined && other.path !== path) {
          throw new Error(
            `"${specifier}" means ${other.path} and, in ${module}, ${path}: rename one of them`,
          );
        }
        if (other === undefined && isSource(path)) entries.push(path);
        found.set(specifier, { specifier, path });
      }
    }
  }
  return [...found.values()];
}

function isSource(path: string): boolean {
  return path.endsWith(".ts");
}

/** Where a named file stands in `app`. */
function placeInApp(root: string, file: NamedFile): string {
  const path = relative(root, file.path);
  return isSource(path) ? path.replace(/\.ts$/, ".js") : join("assets", basename(path));
}

/** All files under a folder, as paths relative to it. */
async function filesUnder(folder: string, prefix = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(join(folder, prefix))) {
    const path = join(prefix, entry.name);
    if (entry.isDirectory) found.push(...await filesUnder(folder, path));
    else found.push(path);
  }
  return found.sort();
}

/**
 * Adapts what the bundler wrote, see {@link ./rewrite.ts} and {@link ./trim.ts}: both read it as the bundler prints it,
 * so that whatever makes it smaller has to come after them.
 */
async function rewriteBundle(
  app: string,
  places: ReadonlyMap<string, string>,
  commit: string,
): Promise<void> {
  const files = (await filesUnder(app)).filter((path) => path.endsWith(".js"));
  const printed = new Map<string, string>();
  for (const file of files) {
    printed.set(file, shortenPackagePaths(await Deno.readTextFile(join(app, file))));
  }
  const texts = trimPackages(printed);
  for (const [file, text] of texts) {
    const folder = dirname(file);
    const seenFromHere = new Map(
      [...places].map(([specifier, place]) => [specifier, specifierFrom(folder, place)] as const),
    );
    const isCommonJs = (specifier: string) => isCommonJsChunk(texts.get(join(folder, specifier)) ?? "");
    const out = rewriteDynamicImports(rewriteModuleUrls(text, seenFromHere), isCommonJs);
    await Deno.writeTextFile(join(app, file), declareDirname(out).replaceAll("@COMMIT@", commit));
  }
}

function specifierFrom(folder: string, place: string): string {
  const path = relative(folder, place);
  return path.startsWith(".") ? path : `./${path}`;
}

/** What {@link bundle} needs to know. */
export interface BundleOptions {
  /** The checkout. */
  readonly root: string;
  /** The entry, an absolute path under `root`. */
  readonly main: string;
  /** The folder to fill; it must be empty. */
  readonly stage: string;
  /** The commit, which takes the place of `@COMMIT@` in `lib/version.ts`. */
  readonly commit: string;
}

/**
 * Bundles the program.
 *
 * @throws {Error} if the bundler fails, or a file that the program names isn't there
 */
export async function bundle(options: BundleOptions): Promise<void> {
  const { root, main, stage } = options;
  const app = join(stage, "app");
  const named = await namedFiles(root, main);
  const workers = named.filter((file) => isSource(file.path)).map((file) => file.path);
  await Deno.mkdir(app);
  await run(root, [
    Deno.execPath(),
    ...["bundle", "--quiet", "--platform", "deno", "--code-splitting", "--outdir", app],
    ...[main, ...workers],
  ]);
  for (const asset of named.filter((file) => !isSource(file.path))) {
    await Deno.mkdir(join(app, "assets"), { recursive: true });
    await Deno.copyFile(asset.path, join(app, placeInApp(root, asset)));
  }
  await rewriteBundle(
    app,
    new Map(named.map((file) => [file.specifier, placeInApp(root, file)] as const)),
    options.commit,
  );
}
