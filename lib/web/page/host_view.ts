/**
 * What this host is and how it does, in the order in which somebody asks.
 *
 * @module
 */
/// <reference lib="dom" />
import { byId, element, setText } from "./dom.ts";
import { counted, duration, numbered } from "./format.ts";
import { type Model, summarize } from "./model.ts";

/** The top of the page. */
export class HostView {
  readonly #model: Model;
  #drawn = "";

  constructor(model: Model) {
    this.#model = model;
  }

  draw(): void {
    const { state, peers } = this.#model;
    if (!state) return;
    setText(byId("host", HTMLElement), state.host.name);
    document.title = `${state.ready ? "" : "! "}${state.host.name} · flannel`;
    const pill = byId("ready", HTMLElement);
    setText(pill, state.ready ? "Ready" : "Not ready");
    pill.dataset["state"] = state.ready ? "ready" : "not-ready";
    setText(byId("summary", HTMLElement), this.#summary());
    this.#drawProblems();
    const drawn = JSON.stringify([state, peers.size]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    byId("facts", HTMLElement).replaceChildren(...this.#facts());
    setText(
      byId("version", HTMLElement),
      `flanneld ${state.version}, running since ${localTime(state.startedAt)}`,
    );
  }

  #summary(): string {
    const { state, peers } = this.#model;
    if (!state!.lease) return "flanneld runs and isn't in a network yet.";
    return `Containers here have addresses of ${state!.lease.subnets.join(" and ")}. ${
      summarize(peers.values())
    }`;
  }

  #drawProblems(): void {
    const { state } = this.#model;
    const texts = [
      ...state!.notReady.filter((text) => !state!.problems.some(({ problem }) => problem === text)),
      ...state!.problems.map(({ problem, since }) => `${problem} (since ${localTime(since)})`),
      ...state!.configInUse === false
        ? ["config: the store holds another config; a restart takes it over"]
        : [],
    ];
    const list = byId("problems", HTMLElement);
    if (list.dataset["drawn"] === texts.join("\n")) return;
    list.dataset["drawn"] = texts.join("\n");
    list.replaceChildren(...texts.map((text) => element("li", "", text)));
  }

  #facts(): HTMLElement[] {
    const { state } = this.#model;
    const { lease, store, peers, config, mtu, firewall } = state!;
    const external = state!.interface;
    const facts: [string, string, string][] = [];
    if (lease) {
      const left = lease.secondsLeft === null
        ? "never expires"
        : `renewed in time, else free in ${duration(lease.secondsLeft)}`;
      facts.push(["Subnet", lease.subnets.join(", "), left]);
    }
    const backend = config?.["Backend"];
    if (typeof backend === "object" && backend !== null && "Type" in backend) {
      facts.push(["Backend", String(backend.Type), `MTU ${mtu} for containers`]);
    }
    if (external) {
      facts.push(["Interface", external.name, external.publicIps.join(", ")]);
    }
    if (store) {
      const how = store.connected ? "connected" : "not connected";
      facts.push(["Store", how, `for ${duration(store.forSeconds)}; ${store.description}`]);
    }
    if (peers) {
      const all = this.#model.peers.size;
      const awaited = [...this.#model.peers.values()].filter((peer) => peer.awaited).length;
      const more = [
        ...awaited > 0 ? [`${counted(awaited, "subnet")} reserved for a host yet to come`] : [],
        ...peers.refused.length > 0 ? [counted(peers.refused.length, "lease") + " refused"] : [],
        ...peers.malformed > 0 ? [`${peers.malformed} malformed`] : [],
      ];
      facts.push([
        "Peers",
        numbered(all - awaited),
        more.join(", ") || "other hosts of the network",
      ]);
    }
    if (firewall) facts.push(["Firewall", firewall, "rules are kept"]);
    return facts.map(([name, value, more]) =>
      element("div", "", element("dt", "", name), element("dd", "", value, element("small", "", more)))
    );
  }
}

/** The time of day, with the date where it is another day. */
function localTime(iso: string): string {
  const time = new Date(iso);
  const isToday = time.toDateString() === new Date().toDateString();
  return isToday ? time.toLocaleTimeString() : time.toLocaleString();
}
