/**
 * The map of the subnets.
 *
 * @module
 */
/// <reference lib="dom" />
import type { JsonObject } from "../../config/types.ts";
import { FAMILIES } from "../../net/family.ts";
import { parseIp } from "../../net/ip.ts";
import { parsePrefix } from "../../net/prefix.ts";
import type { PoolConfig } from "../../config/pool_runs.ts";
import { type PoolGrid, poolGrid, type TakenSubnet } from "../pool_grid.ts";
import { CELL, cellTitle, describePool, GAP, placeOf, sizeOf, STATE_NAMES } from "../pool_svg.ts";
import { byId, element, swatch } from "./dom.ts";
import type { Model } from "./model.ts";

const SVG = "http://www.w3.org/2000/svg";

/** Draws the map of each family. */
export class PoolView {
  readonly #model: Model;
  readonly #place = byId("pool", HTMLElement);
  readonly #choose: (key: string) => void;
  #drawn = "";

  constructor(model: Model, choose: (key: string) => void) {
    this.#model = model;
    this.#choose = choose;
    byId("pool-legend", HTMLElement).replaceChildren(
      ...(["own", "used", "reserved", "expiring", "free"] as const).map((state) =>
        element("li", "", swatch(state), STATE_NAMES[state])
      ),
    );
  }

  draw(): void {
    const { state, peers, words } = this.#model;
    if (!state?.config) return;
    const taken = this.#taken();
    const columns = this.#place.clientWidth < 520 ? 16 : this.#place.clientWidth < 900 ? 32 : 64;
    const drawn = JSON.stringify([columns, words, state.config, taken.map(([subnet, of]) => [subnet, of])]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const keys = new Map(
      [...peers.values()].flatMap(({ key, subnets }) => subnets.map((one) => [one, key] as const)),
    );
    const subnets = taken.map(([subnet, of, holder]): TakenSubnet => ({
      subnet: parsePrefix(subnet),
      state: of,
      holder,
    }));
    const maps = poolsOf(state.config).map((config) => poolGrid(config, subnets, columns));
    this.#place.replaceChildren(...maps.map((map) => this.#figure(map, keys)));
  }

  /** Subnet, state, holder. */
  #taken(): [string, TakenSubnet["state"], string][] {
    const { state, peers } = this.#model;
    const { lease } = state!;
    const left = lease?.secondsLeft ?? Infinity;
    const own = left < state!.renewMargin / 2 ? "expiring" : "own";
    return [
      ...(lease?.subnets ?? []).map((subnet) => [subnet, own, "this host"] as [string, "own", string]),
      ...[...peers.values()].flatMap(({ subnets, reserved, host, publicIps }) =>
        subnets.map((subnet) =>
          [subnet, reserved ? "reserved" : "used", host || publicIps.join(", ")] as [string, "used", string]
        )
      ),
      ...state!.others.flatMap(({ key, subnets, reserved }) =>
        subnets.map((subnet) =>
          (reserved ? [subnet, "reserved", "no host"] : [subnet, "used", `lease ${key}, no peer`]) as [
            string,
            "used",
            string,
          ]
        )
      ),
    ];
  }

  #figure(map: PoolGrid, keys: ReadonlyMap<string, string>): HTMLElement {
    const [width, height] = sizeOf(map);
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", describePool(map));
    map.cells.forEach((cell, index) => {
      const { x, y } = placeOf(index, map.columns);
      const rect = document.createElementNS(SVG, "rect");
      for (const [name, value] of Object.entries({ x, y, width: CELL - GAP, height: CELL - GAP, rx: 2 })) {
        rect.setAttribute(name, String(value));
      }
      const text = cellTitle(cell);
      const isFound = this.#model.searches && this.#model.matches(text.toLowerCase());
      const look = !this.#model.searches ? "" : isFound ? " match" : " dim";
      rect.setAttribute("class", `cell ${cell.state}${look}`);
      const title = document.createElementNS(SVG, "title");
      title.textContent = text;
      rect.append(title);
      const key = keys.get(cell.label);
      if (key !== undefined) rect.addEventListener("click", () => this.#choose(key));
      svg.append(rect);
    });
    const caption = element("figcaption", "", element("b", "", map.network), ` · ${describePool(map)}`);
    return element("figure", "map", caption, svg);
  }
}

/** How many squares match what is searched for are subnets of the network. */
export function foundSubnets(model: Model): number {
  return model.found().reduce((sum, { subnets }) => sum + subnets.length, 0);
}

/** The pools that a complete config describes. */
function poolsOf(config: JsonObject): PoolConfig[] {
  return FAMILIES.flatMap((family) => {
    const six = family.name === "ipv6" ? "IPv6" : "";
    const text = (name: string) => config[`${six}${name}`];
    const network = text("Network"),
      length = text("SubnetLen"),
      min = text("SubnetMin"),
      max = text("SubnetMax");
    if (typeof network !== "string" || typeof length !== "number") return [];
    if (typeof min !== "string" || typeof max !== "string") return [];
    return [{
      family,
      network: parsePrefix(network),
      subnetLength: length,
      subnetMin: parseIp(min),
      subnetMax: parseIp(max),
    }];
  });
}
