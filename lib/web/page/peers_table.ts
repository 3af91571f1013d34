/**
 * The peers as a table, and all about the chosen one.
 *
 * @module
 */
/// <reference lib="dom" />
import { byId, element, marked, setText, swatch } from "./dom.ts";
import { counted, duration, percent, roundTrip } from "./format.ts";
import { describeState, type Model, type Peer, type PeerState, SET_UP, STATE_TEXT } from "./model.ts";

/** Rows that are shown at first, and that each press of the button adds. */
const FIRST_ROWS = 25, MORE_ROWS = 100;

/** A table of the peers that are searched for. */
export class PeersTable {
  readonly #model: Model;
  readonly #rows = byId("rows", HTMLTableSectionElement);
  readonly #more = byId("more", HTMLButtonElement);
  readonly #choose: (key: string) => void;
  #shown = FIRST_ROWS;
  #drawn = "";

  constructor(model: Model, choose: (key: string) => void, redraw: () => void) {
    this.#model = model;
    this.#choose = choose;
    this.#more.addEventListener("click", () => {
      const first = this.#shown;
      this.#shown += MORE_ROWS;
      redraw();
      requestAnimationFrame(() => this.#rows.rows[first]?.querySelector("button")?.focus());
    });
  }

  /** Another search begins at the top. */
  restart(): void {
    this.#shown = FIRST_ROWS;
  }

  draw(): void {
    const { peers, searches, words, chosen, complete } = this.#model;
    // Those with a problem first: they are why somebody looks. The order of the rest is the daemon's, by subnet.
    const found = this.#model.found().sort((a, b) => rank(a) - rank(b) || (a.order < b.order ? -1 : 1));
    const shown = found.slice(0, this.#shown);
    const all = peers.size.toLocaleString("en-US");
    setText(
      byId("peers-count", HTMLElement),
      searches ? `${found.length.toLocaleString("en-US")} of ${all}` : all,
    );
    this.#more.hidden = found.length <= shown.length;
    setText(this.#more, `Show more: ${shown.length} of ${found.length.toLocaleString("en-US")} are shown`);
    const drawn = JSON.stringify([words, chosen, complete, shown]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const focused = this.#focusedKey();
    this.#rows.replaceChildren(...shown.length > 0 ? shown.map((peer) => this.#row(peer)) : [this.#none()]);
    if (focused !== undefined) this.#buttonOf(focused)?.focus({ preventScroll: true });
  }

  #focusedKey(): string | undefined {
    const active = document.activeElement;
    return active instanceof HTMLButtonElement && this.#rows.contains(active)
      ? active.dataset["key"]
      : undefined;
  }

  #buttonOf(key: string): HTMLButtonElement | undefined {
    return [...this.#rows.querySelectorAll("button")].find((button) => button.dataset["key"] === key);
  }

  #none(): HTMLElement {
    const { peers, complete } = this.#model;
    const text = !complete
      ? "Reading the peers."
      : peers.size === 0
      ? "No other hosts yet."
      : "No peer matches the search.";
    const cell = element("td", "", text);
    cell.colSpan = 6;
    return element("tr", "none", cell);
  }

  #row(peer: Peer): HTMLElement {
    const { words, chosen } = this.#model;
    const name = element("button", "mono", ...marked(peer.subnets.join(", "), words));
    name.type = "button";
    name.dataset["key"] = peer.key;
    name.addEventListener("click", () => this.#choose(peer.key));
    const ips = element("small", "", ...marked(peer.publicIps.join(", "), words));
    const host = peer.host === ""
      ? element("td", "", ...marked(peer.publicIps.join(", "), words))
      : element("td", "", ...marked(peer.host, words), ips);
    const probe = peer.probe;
    const state = element(
      "span",
      "state",
      swatch(peer.state),
      element("span", "", ...marked(describeState(peer), words)),
    );
    const row = element(
      "tr",
      peer.key === chosen ? "chosen" : "",
      element("td", "mono", name),
      host,
      element("td", "", ...marked(peer.paths.join(", "), words)),
      element("td", "num", probe && probe.rttMs !== null ? roundTrip(probe.rttMs) : ""),
      element("td", "num", probe ? percent(probe.loss) : ""),
      element("td", "", state),
    );
    return row;
  }

  /** Before one is chosen: how many are how. */
  #drawStates(body: HTMLElement): void {
    const { peers } = this.#model;
    const counts = new Map<PeerState, number>();
    for (const { state } of peers.values()) counts.set(state, (counts.get(state) ?? 0) + 1);
    const isProbed = [...peers.values()].some(({ probe }) => probe);
    const drawn = JSON.stringify([isProbed, ...counts]);
    if (body.dataset["drawn"] === drawn) return;
    body.dataset["drawn"] = drawn;
    const entries = (Object.keys(STATE_TEXT) as PeerState[]).filter((state) => counts.has(state)).map((
      state,
    ) =>
      element(
        "li",
        "",
        swatch(state),
        element("b", "", counts.get(state)!.toLocaleString("en-US")),
        state === "fast" && !isProbed ? SET_UP : STATE_TEXT[state],
      )
    );
    body.replaceChildren(
      element(
        "p",
        "hint",
        peers.size === 0
          ? "All about a peer stands here once there are some."
          : "Choose one in the picture or in the table to see all about it.",
      ),
      element("ul", "states", ...entries),
    );
  }

  /** Everything that is known of the chosen peer. */
  drawDetail(): void {
    const { chosen, peers } = this.#model;
    const body = byId("detail-body", HTMLElement);
    if (chosen === undefined) return this.#drawStates(body);
    const peer = peers.get(chosen);
    setText(byId("detail-title", HTMLElement), peer ? peer.host || peer.subnets.join(", ") : "Peer");
    delete body.dataset["drawn"];
    if (!peer) return body.replaceChildren(element("p", "hint", `${chosen} has left the network.`));
    const facts: [string, string, string?][] = [
      ["Subnet", peer.subnets.join(", "), "mono"],
      ["Public address", peer.publicIps.join(", "), "mono"],
      ["Path", peer.paths.join(", ") || "none"],
      peer.state === "bad" ? ["Problem", describeState(peer), "problem"] : ["State", describeState(peer)],
      ...peer.probe ? [probeFact(peer.probe)] : [],
      ...peer.lastHandshake === undefined ? [] : [
        ["Last handshake", peer.lastHandshake === null ? "none yet" : ago(peer.lastHandshake)] as [
          string,
          string,
        ],
      ],
      ["Lease", `${peer.key}${peer.reserved ? ", reserved: it never expires" : ""}`],
      ["Last change", peer.changedAt === null ? "before this flanneld started" : ago(peer.changedAt)],
    ];
    const list = element("dl");
    for (const [name, value, look = ""] of facts) {
      list.append(element("div", "", element("dt", "", name), element("dd", look, value)));
    }
    body.replaceChildren(list);
  }
}

function probeFact({ rttMs, loss, at }: NonNullable<Peer["probe"]>): [string, string] {
  const trip = rttMs === null ? "no answer" : `${roundTrip(rttMs)} round trip, ${percent(loss)} loss`;
  return ["Last probes", `${trip}; the last one ${ago(at)}`];
}

function rank({ state }: Peer): number {
  return state === "bad" ? 0 : 1;
}

/** `12 s ago`. */
function ago(time: string): string {
  return `${duration((Date.now() - Date.parse(time)) / 1000)} ago`;
}

/** What was found, for the line below the title. */
export function foundText(model: Model, subnets: number, lines: number): string {
  if (!model.searches) return "";
  return `Found: ${counted(model.found().length, "peer")}, ${counted(subnets, "subnet")}, ${
    counted(lines, "log line")
  }`;
}
