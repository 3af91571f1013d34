/**
 * Makes lib/web/page.html, the page that the daemon serves, of what stands in lib/web/page: styles and scripts go into
 * the HTML, and nothing is loaded from elsewhere.
 *
 *     deno task page
 *
 * The file is in the tree, so that a checkout runs without a build; `tests/unit/web_page_test.ts` fails when it isn't
 * current.
 *
 * @module
 */
import { fromFileUrl, join } from "./build/paths.ts";
import { run } from "./build/run.ts";

const ROOT = fromFileUrl(new URL("..", import.meta.url)).replace(/\/$/, "");
const SOURCES = join(ROOT, "lib/web/page");

/** The file that is made. */
export const PAGE_FILE = join(ROOT, "lib/web/page.html");

/** Packages whose code goes into the page: their licences ask for the notice. */
const PACKAGES = ["uplot", "ip-address"] as const;

/** @throws {Error} If the bundler fails. */
export async function makePage(): Promise<string> {
  const [html, style, script] = await Promise.all([
    Deno.readTextFile(join(SOURCES, "index.html")),
    Deno.readTextFile(join(SOURCES, "style.css")),
    bundled(join(SOURCES, "main.ts")),
  ]);
  const licences = (await Promise.all(PACKAGES.map(licence))).join("");
  const plots = await Deno.readTextFile(fromFileUrl(import.meta.resolve("uplot/dist/uPlot.min.css")));
  return html
    .replace("<!doctype html>\n", (line) => `${line}${licences}`)
    .replace("<!--STYLE-->", () => `<style>${minifyCss(`${plots}\n${style}`)}</style>`)
    .replace("<!--SCRIPT-->", () => `<script type="module">${script}</script>`);
}

/** A comment with a package's licence. */
async function licence(name: string): Promise<string> {
  const entry = fromFileUrl(import.meta.resolve(name));
  const folder = entry.replace(/(\/npm\/[^/]+\/[^/]+\/[^/]+)\/.*$/, "$1");
  return `<!-- ${name}:\n${(await Deno.readTextFile(join(folder, "LICENSE"))).trim()}\n-->\n`;
}

async function bundled(entry: string): Promise<string> {
  const text = await run(ROOT, [
    Deno.execPath(),
    ...["bundle", "--quiet", "--platform", "browser", "--minify", entry],
  ]);
  // It would end the element.
  return text.trim().replaceAll("</script", "<\\/script");
}

/** Comments and indentation go; what is left stays as it was written. */
function minifyCss(text: string): string {
  return text.replace(/\/\*[^]*?\*\//g, "").replace(/\s*\n\s*/g, "\n").trim();
}

if (import.meta.main) {
  const page = await makePage();
  await Deno.writeTextFile(PAGE_FILE, page);
  console.log(`${PAGE_FILE}: ${(page.length / 1000).toFixed(0)} kB`);
}
