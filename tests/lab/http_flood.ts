/**
 * Opens many connections and holds them, until it is ended: `http_flood.ts HOST PORT COUNT`. Every other one sends
 * the beginning of a request. Says "flooded" once all were tried.
 *
 * @module
 */
const [hostname, port, count] = [Deno.args[0]!, Number(Deno.args[1]), Number(Deno.args[2])];
const begin = new TextEncoder().encode("GET /healthz HTTP/1.1\r\nHost: ");
const held: Deno.Conn[] = [];

async function hold(number: number): Promise<void> {
  try {
    const connection = await Deno.connect({ hostname, port });
    held.push(connection);
    if (number % 2) await connection.write(begin);
  } catch {
    // Refused or closed at once: that is what the server may do.
  }
}

// Those that aren't accepted yet must not hold up the others.
const tries = Array.from({ length: count }, (_, number) => hold(number));
await Promise.race([Promise.all(tries), new Promise((resolve) => setTimeout(resolve, 2_000))]);
console.log("flooded");
await new Promise((resolve) => setTimeout(resolve, 120_000));
