/**
 * Debian's Chromium, driven over the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/).
 *
 * @module
 */
import { delay, until } from "./process.ts";

/** What a page looks like. */
export interface View {
  /** In CSS pixels. */
  readonly width: number;
  readonly height: number;
  /** The colour scheme that the page is asked for. @default light */
  readonly scheme?: "light" | "dark";
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly sessionId?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** A browser without a window. */
export class Browser implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #socket: WebSocket;
  readonly #folder: string;
  readonly #waiting = new Map<number, PromiseWithResolvers<Record<string, unknown>>>();
  readonly #listeners = new Map<string, (method: string, params: Record<string, unknown>) => void>();
  #id = 0;

  private constructor(child: Deno.ChildProcess, socket: WebSocket, folder: string) {
    this.#child = child;
    this.#socket = socket;
    this.#folder = folder;
    socket.addEventListener("message", ({ data }) => this.#take(JSON.parse(data)));
  }

  /** Starts Chromium. @throws {Error} If it isn't installed or doesn't start. */
  static async launch(): Promise<Browser> {
    const folder = await Deno.makeTempDir({ prefix: "flanneld-browser-" });
    const child = new Deno.Command("chromium", {
      args: [
        // Root has no sandbox of Chromium's.
        ...["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"],
        ...[
          "--disable-background-networking",
          "--disable-component-update",
          "--disable-sync",
          "--disable-extensions",
        ],
        ...[
          "--disable-dev-shm-usage",
          "--remote-debugging-port=0",
          `--user-data-dir=${folder}`,
          "about:blank",
        ],
      ],
      env: { HOME: folder },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      let address = "";
      // Its first line is the port, its second the path.
      await until("Chromium to listen", async () => {
        const [port, path] = (await Deno.readTextFile(`${folder}/DevToolsActivePort`)).split("\n");
        address = `ws://127.0.0.1:${port}${path}`;
        return path !== undefined && path !== "";
      }, 20_000);
      const socket = new WebSocket(address);
      await new Promise((resolve, reject) => {
        socket.addEventListener("open", resolve, { once: true });
        socket.addEventListener("error", reject, { once: true });
      });
      return new Browser(child, socket, folder);
    } catch (error) {
      child.kill("SIGKILL");
      await child.status;
      await Deno.remove(folder, { recursive: true });
      throw error;
    }
  }

  /** A page of its own, with nothing in it. */
  async page(view: View): Promise<Page> {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, String(sessionId), String(targetId));
    this.#listeners.set(String(sessionId), (method, params) => page.take(method, params));
    await page.prepare(view);
    return page;
  }

  /** One call of the protocol. @throws {Error} With the browser's message. */
  send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = ++this.#id;
    const answer = Promise.withResolvers<Record<string, unknown>>();
    this.#waiting.set(id, answer);
    this.#socket.send(
      JSON.stringify({ id, method, params, ...sessionId === undefined ? {} : { sessionId } }),
    );
    return answer.promise;
  }

  #take({ id, method, sessionId, params, result, error }: Message): void {
    if (id === undefined) {
      if (method !== undefined && sessionId !== undefined) {
        this.#listeners.get(sessionId)?.(method, params ?? {});
      }
      return;
    }
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new Error(error.message));
    else waiting?.resolve(result ?? {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#socket.addEventListener("close", resolve, { once: true }));
    void this.send("Browser.close").catch(() => {});
    await Promise.race([Promise.all([closed, this.#child.status]), delay(5_000)]);
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It ended by itself.
    }
    await this.#child.status;
    // Its children may still write for a moment.
    await until("Chromium's folder to go", async () => {
      await Deno.remove(this.#folder, { recursive: true });
      return true;
    }, 5_000);
  }
}

/** One page. */
export class Page implements AsyncDisposable {
  /** Addresses that the page asked for. */
  readonly requests: string[] = [];
  /** Errors, warnings and violations of its policy that the browser logged. */
  readonly faults: string[] = [];
  readonly #browser: Browser;
  readonly #session: string;
  readonly #target: string;

  constructor(browser: Browser, session: string, target: string) {
    this.#browser = browser;
    this.#session = session;
    this.#target = target;
  }

  async prepare({ width, height, scheme = "light" }: View): Promise<void> {
    for (const domain of ["Page", "Network", "Runtime", "Log"]) await this.send(`${domain}.enable`);
    const mobile = width < 600;
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile });
    const features = [{ name: "prefers-color-scheme", value: scheme }];
    await this.send("Emulation.setEmulatedMedia", { features });
  }

  /** Something happened in the page. */
  take(method: string, params: Record<string, unknown>): void {
    const read = (...path: string[]) =>
      path.reduce<unknown>((value, name) => (value as Record<string, unknown> | undefined)?.[name], params);
    if (method === "Network.requestWillBeSent") this.requests.push(String(read("request", "url")));
    if (method === "Runtime.exceptionThrown") {
      this.faults.push(String(read("exceptionDetails", "exception", "description")));
    }
    if (method === "Runtime.consoleAPICalled" && /error|warning/.test(String(read("type")))) {
      this.faults.push(JSON.stringify(read("args")));
    }
    if (method === "Log.entryAdded" && /error|warning/.test(String(read("entry", "level")))) {
      this.faults.push(`${read("entry", "text")} ${read("entry", "url") ?? ""}`);
    }
  }

  send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    return this.#browser.send(method, params, this.#session);
  }

  async open(url: string): Promise<void> {
    const { errorText } = await this.send("Page.navigate", { url });
    if (errorText !== undefined) throw new Error(`cannot open ${url}: ${errorText}`);
  }

  /** The value of an expression, a promise's too. @throws {Error} As the page does. */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = await this.send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    const { result, exceptionDetails } = answer as {
      result: { value: T };
      exceptionDetails?: { exception?: { description?: string }; text: string };
    };
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Waits until an expression is true. @throws {Error} When the time is up. */
  async until(expression: string, milliseconds = 10_000): Promise<void> {
    await until(`${expression} in the page`, () => this.evaluate<boolean>(`!!(${expression})`), milliseconds);
  }

  /** Presses a key, like `Tab` or `/`. */
  async press(key: string): Promise<void> {
    const isText = [...key].length === 1;
    const codes: Record<string, number> = { Tab: 9, Enter: 13, Escape: 27 };
    const text = isText ? { text: key } : key === "Enter" ? { text: "\r" } : {};
    const event = { key, windowsVirtualKeyCode: codes[key] ?? 0, ...text };
    await this.send("Input.dispatchKeyEvent", {
      type: isText || key === "Enter" ? "keyDown" : "rawKeyDown",
      ...event,
    });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...event, text: undefined });
  }

  /** The whole page as PNG. */
  async screenshot(path: string): Promise<void> {
    const { cssContentSize } = await this.send("Page.getLayoutMetrics") as {
      cssContentSize: { width: number; height: number };
    };
    const clip = { x: 0, y: 0, width: cssContentSize.width, height: cssContentSize.height, scale: 1 };
    const { data } = await this.send("Page.captureScreenshot", {
      format: "png",
      captureBeyondViewport: true,
      clip,
    });
    await Deno.writeFile(path, Uint8Array.from(atob(String(data)), (char) => char.charCodeAt(0)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.send("Target.closeTarget", { targetId: this.#target });
  }
}
