import assert from "node:assert/strict";
import { Backoff, backoffMs } from "../../lib/time/backoff.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { pause } from "../../lib/time/pause.ts";
import { Rounds } from "../../lib/time/rounds.ts";
import { Throttle } from "../../lib/time/throttle.ts";
import { Turns } from "../../lib/time/turns.ts";
import { Wake } from "../../lib/time/wake.ts";

Deno.test("pause: ends with its signal, also one that fired before, and never rejects", async () => {
  const stop = new AbortController();
  const began = performance.now();
  const waiting = pause(60_000, stop.signal);
  stop.abort(new Error("end"));
  await waiting;
  await pause(60_000, stop.signal);
  await systemClock.sleep(60_000, stop.signal);
  assert(performance.now() - began < 5_000);
});

// A loop whose waits took no time at all kept timers and sockets from ever running.
Deno.test("pause: no time at all still lets timers have their turn", async () => {
  let fired = false;
  setTimeout(() => fired = true, 1);
  for (const end = performance.now() + 5_000; !fired && performance.now() < end;) await pause(0);
  assert(fired);
});

Deno.test("back-off: doubles from the first to the longest, half of it left to chance, and begins again", async () => {
  const range = { first: 100, longest: 5_000 };
  const waits = [1, 2, 3, 6, 7, 1_000_000].map((failures) => backoffMs(failures, range, () => 0.999_999));
  assert.deepEqual(waits.map(Math.round), [100, 200, 400, 3_200, 5_000, 5_000]);
  assert.equal(backoffMs(2, range, () => 0), 100);
  const slept: number[] = [];
  const clock = {
    ...systemClock,
    random: () => 0,
    sleep: (ms: number) => Promise.resolve(void slept.push(ms)),
  };
  const backoff = new Backoff(clock, range);
  await backoff.wait();
  await backoff.wait();
  backoff.reset();
  await backoff.wait();
  assert.deepEqual(slept, [50, 100, 50]);
});

Deno.test("throttle: one line in a while, the held back ones counted; another text at once", () => {
  let now = 0;
  const throttle = new Throttle({ now: () => now }, 1000);
  assert.equal(throttle.pass("a"), 0);
  assert.equal(throttle.pass("a"), undefined);
  assert.equal(throttle.pass("b"), 1);
  now = 999;
  assert.equal(throttle.pass("b"), undefined);
  now = 1000;
  assert.equal(throttle.pass("b"), 1);
});

Deno.test("turns: one after the other, whatever failed before", async () => {
  const turns = new Turns();
  const order: string[] = [];
  const slow = turns.take(async () => {
    await pause(5);
    order.push("slow");
    throw new Error("failed");
  });
  const quick = turns.take(() => {
    order.push("quick");
    return 7;
  });
  await assert.rejects(slow, /failed/);
  assert.equal(await quick, 7);
  await turns.idle();
  assert.deepEqual(order, ["slow", "quick"]);
});

Deno.test("wake: what happened before, during and not at all", async () => {
  const stop = new AbortController();
  const wake = new Wake<"a" | "b">(stop.signal);
  assert.equal(await wake.within(1), false);
  wake.up("a");
  assert.equal(await wake.within(60_000), true);
  assert.deepEqual(wake.take(), new Set(["a"]));
  const waiting = wake.within(60_000);
  wake.up("b", "a");
  assert.equal(await waiting, true);
  assert.deepEqual(wake.take(), new Set(["b", "a"]));
  const last = wake.within(60_000);
  stop.abort();
  assert.equal(await last, false);
  assert.equal(await wake.within(60_000), false);
});

// The note that nothing runs came some microtasks after the last look: what was asked for in between was never done.
Deno.test("rounds: what is asked for at any moment of a round is done by the next one", async () => {
  for (let moment = 0; moment < 20; moment++) {
    let asked = 0, done = 0;
    const rounds = new Rounds(async () => {
      const now = asked;
      await Promise.resolve();
      done = now;
    });
    const ask = () => {
      asked++;
      rounds.ask();
    };
    ask();
    for (let turn = 0; turn < moment; turn++) await Promise.resolve();
    ask();
    await rounds.idle();
    assert.equal(done, 2, `asked for after ${moment} microtasks`);
  }
});
