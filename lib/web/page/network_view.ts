/**
 * The picture of the network, on a canvas: 2,000 peers are drawn in a few milliseconds, and only when something changed.
 *
 * @module
 */
/// <reference lib="dom" />
import { byId, colour, element, setText, swatch } from "./dom.ts";
import { counted, percent, roundTrip } from "./format.ts";
import { type Group, type Layout, layOut, type Spot } from "./layout.ts";
import { describeState, FAST_MS, MEDIUM_MS, type Model, type Peer, type PeerState } from "./model.ts";

/** From the best to the worst: what is drawn last is on top. */
const WORST_LAST: readonly PeerState[] = ["fast", "medium", "quiet", "slow", "bad"];

/** Of many dots, those with a problem are larger by this. */
const BAD_SCALE = 1.5;

/** How near the pointer must come to a dot, in CSS pixels. */
const REACH = 14;

/** Draws the network, and says what the pointer is at. */
export class NetworkView {
  readonly #model: Model;
  readonly #canvas = byId("network", HTMLCanvasElement);
  readonly #tip = byId("tip", HTMLElement);
  readonly #choose: (key: string) => void;
  #layout: Layout = { groups: [], dot: 0, single: true };
  #laidOut = "";
  #colours: Readonly<Record<string, string>> = {};
  #hovered: string | undefined;

  constructor(model: Model, choose: (key: string) => void, redraw: () => void) {
    this.#model = model;
    this.#choose = choose;
    new ResizeObserver(redraw).observe(this.#canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#colours = {};
      redraw();
    });
    this.#canvas.addEventListener("pointermove", (event) => this.#hover(event));
    this.#canvas.addEventListener("pointerleave", () => {
      this.#hovered = undefined;
      this.#tip.hidden = true;
      this.draw();
    });
    this.#canvas.addEventListener("click", (event) => {
      const spot = this.#nearest(event);
      if (spot) this.#choose(spot.key);
    });
  }

  draw(): void {
    const { peers, complete } = this.#model;
    const width = this.#canvas.clientWidth, height = this.#canvas.clientHeight;
    const ratio = devicePixelRatio || 1;
    const context = this.#canvas.getContext("2d");
    if (!context || width === 0) return;
    if (
      this.#canvas.width !== Math.round(width * ratio) || this.#canvas.height !== Math.round(height * ratio)
    ) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
    }
    this.#place(width, height);
    context.setTransform(ratio, 0, 0, ratio, ratio * width / 2, ratio * height / 2);
    context.clearRect(-width / 2, -height / 2, width, height);
    for (const group of this.#layout.groups) this.#drawLine(context, group);
    for (const group of this.#layout.groups) this.#drawGroup(context, group, width);
    this.#drawHost(context);
    byId("empty", HTMLElement).hidden = !complete || peers.size > 0;
    this.#describe();
  }

  /** Places depend on which peers there are, not on how they are. */
  #place(width: number, height: number): void {
    const keys = [...this.#model.peers.keys()].join();
    const now = `${width}x${height}:${keys}`;
    if (now === this.#laidOut) return;
    this.#laidOut = now;
    this.#layout = layOut([...this.#model.peers.values()], width, height);
  }

  #colour(name: string): string {
    if (this.#colours[name] === undefined) this.#colours = { ...this.#colours, [name]: colour(name) };
    return this.#colours[name]!;
  }

  #peersOf(group: Group): Peer[] {
    return group.spots.flatMap(({ key }) => this.#model.peers.get(key) ?? []);
  }

  #isDim(peer: Peer): boolean {
    return this.#model.searches && !this.#model.matches(peer.text);
  }

  /** A tunnel, or of a group all of them: as thick as they are many, in the colour of most. */
  #drawLine(context: CanvasRenderingContext2D, group: Group): void {
    const peers = this.#peersOf(group);
    const count = (state: PeerState) => peers.filter((peer) => peer.state === state).length;
    const state = WORST_LAST.reduce((best, other) => count(other) > count(best) ? other : best);
    const isDim = peers.every((peer) => this.#isDim(peer));
    context.globalAlpha = isDim ? 0.15 : this.#layout.single ? 0.75 : 0.55;
    context.strokeStyle = this.#colour(state);
    context.lineWidth = this.#layout.single ? 1.75 : Math.min(7, 1 + Math.sqrt(peers.length) / 2.5);
    // What leads nowhere is no line.
    context.setLineDash(state === "bad" ? [5, 4] : state === "quiet" ? [1, 6] : []);
    context.beginPath();
    context.moveTo(0, 0);
    const distance = Math.hypot(group.x, group.y);
    const end = Math.max(0, 1 - group.radius / distance);
    context.lineTo(group.x * end, group.y * end);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  #drawGroup(context: CanvasRenderingContext2D, group: Group, width: number): void {
    if (!this.#layout.single) {
      context.fillStyle = this.#colour("card");
      context.strokeStyle = this.#colour("line");
      context.lineWidth = 1;
      context.beginPath();
      context.arc(group.x, group.y, group.radius, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
    // One path for all dots of a colour: 2,000 single fills take ten times as long.
    const paths = new Map<string, Path2D>();
    for (const { key, x, y } of group.spots) {
      const peer = this.#model.peers.get(key);
      if (!peer) continue;
      const style = `${this.#isDim(peer) ? "dim" : ""}:${peer.state}`;
      const path = paths.get(style) ?? new Path2D();
      paths.set(style, path);
      const radius = this.#layout.dot * (peer.state === "bad" && !this.#layout.single ? BAD_SCALE : 1);
      path.moveTo(x + radius, y);
      path.arc(x, y, radius, 0, 2 * Math.PI);
    }
    for (const style of WORST_LAST.flatMap((state) => [`dim:${state}`, `:${state}`])) {
      const path = paths.get(style);
      if (!path) continue;
      const [dim, state] = style.split(":");
      context.globalAlpha = dim ? 0.2 : 1;
      context.fillStyle = this.#colour(state!);
      context.fill(path);
      context.globalAlpha = 1;
    }
    for (const spot of group.spots) {
      if (spot.key === this.#hovered || spot.key === this.#model.chosen) this.#drawRing(context, spot);
    }
    if (this.#layout.single) this.#drawLabel(context, group, width);
  }

  #drawRing(context: CanvasRenderingContext2D, { x, y }: Spot): void {
    context.strokeStyle = this.#colour("ink");
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, this.#layout.dot + 3, 0, 2 * Math.PI);
    context.stroke();
  }

  /** The name of a single peer, away from the middle. Many or a narrow picture: the table has the names. */
  #drawLabel(context: CanvasRenderingContext2D, { x, y, spots }: Group, width: number): void {
    const peer = this.#model.peers.get(spots[0]?.key ?? "");
    if (!peer || this.#layout.groups.length > (width < 480 ? 8 : 24)) return;
    context.globalAlpha = this.#isDim(peer) ? 0.3 : 1;
    context.font = "13px system-ui, sans-serif";
    context.fillStyle = this.#colour("ink");
    const label = peer.host !== "" ? peer.host : peer.subnets[0] ?? peer.key;
    const isBeside = Math.abs(x) > 30;
    const room = context.measureText(label).width + 16;
    const fits = Math.abs(x) + room < width / 2;
    context.textAlign = isBeside && fits ? x > 0 ? "left" : "right" : "center";
    context.textBaseline = "middle";
    if (isBeside && fits) context.fillText(label, x + (x > 0 ? 14 : -14), y);
    else {
      const half = room / 2;
      context.fillText(
        label,
        Math.max(-width / 2 + half, Math.min(width / 2 - half, x)),
        // Beside the middle sine is some 1e-14, of either sign.
        y + (y > -1 ? 20 : -20),
      );
    }
    context.globalAlpha = 1;
  }

  #drawHost(context: CanvasRenderingContext2D): void {
    context.fillStyle = this.#colour("card");
    context.beginPath();
    context.arc(0, 0, 20, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = this.#colour("own");
    context.beginPath();
    context.arc(0, 0, 14, 0, 2 * Math.PI);
    context.fill();
    const name = this.#model.state?.host.name;
    if (name === undefined) return;
    context.font = "600 13px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    // Legible over lines.
    context.lineWidth = 5;
    context.lineJoin = "round";
    context.strokeStyle = this.#colour("card");
    context.strokeText(name, 0, 30);
    context.fillStyle = this.#colour("ink");
    context.fillText(name, 0, 30);
  }

  /** The same in words, for who doesn't see it. */
  #describe(): void {
    const { peers, state } = this.#model;
    const bad = [...peers.values()].filter((peer) => peer.state === "bad").length;
    const text = `Network of ${state?.host.name ?? "this host"} and ${counted(peers.size, "peer")}, ` +
      `${bad === 0 ? "none" : bad} with a problem. The table below has each of them.`;
    if (this.#canvas.getAttribute("aria-label") !== text) this.#canvas.setAttribute("aria-label", text);
    const hint = this.#layout.single
      ? "This host in the middle, the other hosts around it. A line is a tunnel."
      : "This host in the middle, each dot another host. Hosts with neighbouring addresses stand together; " +
        "a line stands for their tunnels, in the colour of most of them.";
    setText(byId("network-hint", HTMLElement), hint);
  }

  #nearest(event: MouseEvent): Spot | undefined {
    const box = this.#canvas.getBoundingClientRect();
    const x = event.clientX - box.left - box.width / 2, y = event.clientY - box.top - box.height / 2;
    let nearest: Spot | undefined, least = REACH;
    for (const { spots } of this.#layout.groups) {
      for (const spot of spots) {
        const distance = Math.hypot(spot.x - x, spot.y - y);
        if (distance < least) [nearest, least] = [spot, distance];
      }
    }
    return nearest;
  }

  #hover(event: PointerEvent): void {
    const spot = this.#nearest(event);
    this.#canvas.style.cursor = spot ? "pointer" : "default";
    if (spot?.key === this.#hovered) return;
    this.#hovered = spot?.key;
    const peer = spot && this.#model.peers.get(spot.key);
    this.#tip.hidden = !peer;
    if (spot && peer) {
      setText(this.#tip, describe(peer));
      const { clientWidth, clientHeight } = this.#canvas;
      const left = clientWidth / 2 + spot.x + 16;
      this.#tip.style.left = `${Math.max(0, Math.min(left, clientWidth - this.#tip.offsetWidth))}px`;
      const top = clientHeight / 2 + spot.y + 14;
      this.#tip.style.top = `${Math.max(0, Math.min(top, clientHeight - this.#tip.offsetHeight))}px`;
    }
    this.draw();
  }
}

function describe(peer: Peer): string {
  const { host, subnets, publicIps, probe } = peer;
  const measured = probe && probe.rttMs !== null
    ? `${roundTrip(probe.rttMs)}, loss ${percent(probe.loss)}`
    : "";
  return [host, subnets.join(", "), publicIps.join(", "), measured, describeState(peer)].filter(Boolean).join(
    "\n",
  );
}

/** The legend, which depends on whether round trips are measured. */
export function networkLegend(isProbed: boolean): Node[] {
  const entries: [PeerState, string][] = isProbed
    ? [
      ["fast", `up to ${FAST_MS} ms`],
      ["medium", `up to ${MEDIUM_MS} ms`],
      ["slow", "slower, or loses packets"],
      ["bad", "problem"],
      ["quiet", "no path or answer"],
    ]
    : [["fast", "set up"], ["bad", "problem"], ["quiet", "no path"]];
  return entries.map(([state, text]) => element("li", "", swatch(state), text));
}
