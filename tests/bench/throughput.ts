/**
 * What flanneld's vxlan and host-gw carry, against the same data plane made by hand with `ip`, in one run.
 *
 *     deno task bench throughput [--rounds=12] [--seconds=1]
 *
 * Both networks stand side by side; they take turns, and which goes first changes every round, so that a
 * machine that slows down or speeds up does so for both.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Column, markdownTable } from "../../scripts/demo/table.ts";
import { connectByHand } from "../../scripts/lab/by_hand.ts";
import { Lab } from "../../scripts/lab/lab.ts";
import { throughput } from "../../scripts/lab/measure.ts";
import { describeMachine, median } from "./machine.ts";

const MTU = 1500;
const KINDS = ["vxlan", "host-gw"] as const;

const COLUMNS: readonly Column[] = [
  { title: "backend", align: "left" },
  { title: "flanneld (Mbit/s)", align: "right" },
  { title: "by hand (Mbit/s)", align: "right" },
  { title: "ratio", align: "right" },
];

async function carry(lab: Lab, seconds: number): Promise<number> {
  const [from, to] = lab.containers;
  return await throughput(from!, to!, to!.addresses.ipv4!, seconds);
}

/** The ratio is the median of each round's ratio: the two halves of a round are seconds apart. */
async function compare(kind: typeof KINDS[number], rounds: number, seconds: number): Promise<string[]> {
  await using ours = await Lab.create({
    hosts: 2,
    mtu: MTU,
    store: "sqlite",
    config: { Network: "10.5.0.0/16", Backend: { Type: kind } },
  });
  await using byHand = await Lab.create({ hosts: 2, mtu: MTU, store: "sqlite", config: null });
  await Promise.all([ours.startAll(), connectByHand(byHand, kind, MTU)]);
  for (const lab of [ours, byHand]) {
    await lab.connect();
    await lab.pingAll();
  }
  const results: { flanneld: number; hand: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const first = await carry(round % 2 === 0 ? ours : byHand, seconds);
    const second = await carry(round % 2 === 0 ? byHand : ours, seconds);
    results.push(
      round % 2 === 0 ? { flanneld: first, hand: second } : { flanneld: second, hand: first },
    );
  }
  return [
    kind,
    median(results.map(({ flanneld }) => flanneld)).toFixed(0),
    median(results.map(({ hand }) => hand)).toFixed(0),
    median(results.map(({ flanneld, hand }) => flanneld / hand)).toFixed(3),
  ];
}

/** Runs the benchmark and prints its table. */
export async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "12" },
      seconds: { type: "string", default: "1" },
    },
  });
  const rows: string[][] = [];
  for (const kind of KINDS) rows.push(await compare(kind, Number(values.rounds), Number(values.seconds)));
  console.log(`TCP, one stream, container to container (${describeMachine(new Date())})\n`);
  console.log(markdownTable(COLUMNS, rows));
}
