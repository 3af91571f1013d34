/**
 * The log's last lines.
 *
 * @module
 */
/// <reference lib="dom" />
import { byId, element, marked } from "./dom.ts";
import type { Model } from "./model.ts";

/** `2026-11-21T07:00:00.000Z info vxlan: message`, as the daemon writes it. */
const LINE = /^(\S+T\S+Z) (\w+) (.*)$/s;

/** The lines that are searched for, the newest first. */
export class LogView {
  readonly #model: Model;
  readonly #list = byId("log", HTMLElement);
  #drawn = "";

  constructor(model: Model) {
    this.#model = model;
  }

  /** The lines that match. */
  found(): string[] {
    const { lines, searches } = this.#model;
    return searches ? lines.filter((line) => this.#model.matches(line.toLowerCase())) : lines;
  }

  draw(): void {
    const { words } = this.#model;
    const found = this.found();
    const drawn = JSON.stringify([words, found.length, found.at(0), found.at(-1)]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const items = found.map((line) => lineOf(line, words)).reverse();
    this.#list.replaceChildren(
      ...items.length > 0
        ? items
        : [element("li", "", element("span", "text", "No line matches the search."))],
    );
  }
}

function lineOf(line: string, words: readonly string[]): HTMLElement {
  const [, at = "", level = "", text = line] = LINE.exec(line) ?? [];
  const time = element("time", "", at === "" ? "" : new Date(at).toTimeString().slice(0, 8));
  time.dateTime = at;
  const item = element(
    "li",
    "",
    time,
    element("span", "level", level),
    element("span", "text", ...marked(text, words)),
  );
  item.dataset["level"] = level;
  return item;
}
