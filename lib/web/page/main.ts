/**
 * The page: takes what the daemon sends, and draws at most once a frame.
 *
 * @module
 */
/// <reference lib="dom" />
import { byId, setText } from "./dom.ts";
import { HostView } from "./host_view.ts";
import { LogView } from "./log_view.ts";
import { Model } from "./model.ts";
import { networkLegend, NetworkView } from "./network_view.ts";
import { foundText, PeersTable } from "./peers_table.ts";
import { Plots } from "./plots.ts";
import { foundSubnets, PoolView } from "./pool_view.ts";
import { Stream } from "./stream.ts";

const model = new Model();
const search = byId("search", HTMLInputElement);
const link = byId("link", HTMLElement);
const host = new HostView(model);
const network = new NetworkView(model, choose, redraw);
const pool = new PoolView(model, choose);
const plots = new Plots(model);
const table = new PeersTable(model, choose, redraw);
const log = new LogView(model);

let isPlanned = false;
let isProbed: boolean | undefined;

/** Draws with the next frame, however often it is asked for until then. */
function redraw(): void {
  if (isPlanned) return;
  isPlanned = true;
  requestAnimationFrame(draw);
}

function draw(): void {
  isPlanned = false;
  const probed = [...model.peers.values()].some(({ probe }) => probe);
  if (probed !== isProbed) {
    isProbed = probed;
    byId("network-legend", HTMLElement).replaceChildren(...networkLegend(probed));
  }
  host.draw();
  network.draw();
  pool.draw();
  plots.draw();
  table.draw();
  table.drawDetail();
  log.draw();
  setText(byId("found", HTMLElement), foundText(model, foundSubnets(model), log.found().length));
  const devices = model.state?.devices.join(", ");
  const of = devices ? ` Traffic is that of ${devices}.` : "";
  setText(byId("plots-hint", HTMLElement), `One sample every 5 seconds.${of}`);
}

function choose(key: string): void {
  model.chosen = key;
  redraw();
  // On a narrow page the details are far from the table.
  const detail = byId("detail", HTMLElement);
  const box = detail.getBoundingClientRect();
  if (box.bottom < 0 || box.top > innerHeight) detail.scrollIntoView({ block: "nearest" });
}

search.addEventListener("input", () => {
  model.words = search.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
  table.restart();
  redraw();
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "Escape" && event.target === search) {
    search.value = "";
    search.dispatchEvent(new Event("input"));
  }
});

function show(state: "live" | "lost", text: string): void {
  link.dataset["state"] = state;
  setText(link, text);
}

/** Until everything has come once more, what was there before is shown. */
let next: Model | undefined = model;

new Stream({
  opened() {
    next = new Model();
    show("live", "Live");
  },
  take(name, data) {
    const target = next ?? model;
    target.take(name, data);
    if (next?.complete) {
      model.restart();
      model.state = next.state;
      model.complete = true;
      for (const [key, peer] of next.peers) model.peers.set(key, peer);
      model.samples.push(...next.samples);
      model.lines.push(...next.lines);
      next = undefined;
    }
    redraw();
  },
  lost() {
    show("lost", "Connection lost, retrying");
  },
});
redraw();
