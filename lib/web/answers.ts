/**
 * The page and its events as HTTP answers. Loaded when somebody asks for them first.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { PagePath } from "../observe/http.ts";
import type { HttpAnswer } from "../observe/http_connection.ts";
import { PageHub, type PageSource } from "./hub.ts";

/** Made by scripts/page.ts of what stands in page/. */
const PAGE = new URL("page.html", import.meta.url);

/** What browsers must not do with either answer. */
const FIELDS = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
} as const;

/** Answers for {@link PagePath}. */
export class PageAnswers {
  readonly #hub: PageHub;

  constructor(source: PageSource) {
    this.#hub = new PageHub(source);
  }

  async answer(path: PagePath): Promise<HttpAnswer> {
    if (path === "/events") {
      return { status: 200, body: this.#hub.stream, contentType: "text/event-stream", fields: FIELDS };
    }
    // Read for each request: at rest it takes no memory.
    const html = await Deno.readTextFile(PAGE);
    return {
      status: 200,
      body: html,
      contentType: "text/html; charset=utf-8",
      fields: { ...FIELDS, "content-security-policy": contentSecurityPolicy(html) },
    };
  }
}

/** Nothing but what the page itself holds, and requests to where it comes from. */
export function contentSecurityPolicy(html: string): string {
  const hashes = (tag: string) =>
    [...html.matchAll(new RegExp(`<${tag}[^>]*>([^]*?)</${tag}>`, "g"))]
      .map(([, text]) => `'sha256-${createHash("sha256").update(text!).digest("base64")}'`).join(" ");
  return [
    "default-src 'none'",
    `script-src ${hashes("script")}`,
    `style-src ${hashes("style")}`,
    "img-src data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}
