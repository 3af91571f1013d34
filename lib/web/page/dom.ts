/**
 * Small helpers around the document. Text always goes in as text: what others wrote, like names and log lines, is never
 * HTML.
 *
 * @module
 */
/// <reference lib="dom" />
/// <reference lib="dom.iterable" />

/** The element with this id. @throws {Error} If the page has none. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new Error(`the page has no #${id}`);
}

/** A new element with a class and children; strings become text. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  className = "",
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  made.append(...children);
  return made;
}

/** A dot or square of a legend's colour; decoration, the text beside it says the same. */
export function swatch(colour: string): HTMLElement {
  const made = element("span", `swatch ${colour}`);
  made.setAttribute("aria-hidden", "true");
  return made;
}

/** Sets an element's text, and touches nothing where it is the same: screen readers repeat what is set. */
export function setText(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** A CSS variable's value, as the colour scheme has it now. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** The text with what was searched for marked. */
export function marked(text: string, words: readonly string[]): (Node | string)[] {
  const found = words.filter((word) => word !== "");
  if (found.length === 0) return [text];
  const escaped = found.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return text.split(new RegExp(`(${escaped.join("|")})`, "gi"))
    .map((part, index) => index % 2 === 1 ? element("mark", "", part) : part)
    .filter((part) => part !== "");
}
