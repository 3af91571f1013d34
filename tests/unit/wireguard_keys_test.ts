/** The key file. */
import assert from "node:assert/strict";
import {
  findKey,
  keepKey,
  KeyFileError,
  keyPlace,
  ownKeyFiles,
  readKey,
  replaceKey,
} from "../../backends/wireguard/key_file.ts";
import { silentLog } from "../../lib/observe/types.ts";
import { generatePrivateKey, isKey, publicKeyOf } from "../../lib/wireguard/keys.ts";

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-test-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function modeOf(path: string): Promise<number> {
  return (await Deno.stat(path)).mode! & 0o777;
}

Deno.test("wireguard keys: the public key is what wg pubkey prints", () => {
  assert.equal(
    publicKeyOf("sK9CejM4KAhgCMFIAJCaoyDdE5R6j7o4UX0IeFKZI3g="),
    "v0qEHUKkdg4CSNtAOfxZU3AoeipjIGnrBD992BUsmiY=",
  );
  assert.throws(() => publicKeyOf("short"), RangeError);
});

Deno.test("wireguard keys: a key is made with mode 0600 and kept, also when the file in memory is gone", () =>
  withFolder(async (folder) => {
    const place = { file: `${folder}/run/wgkey`, copy: `${folder}/lib/wgkey` };
    const key = await findKey(place);
    assert.ok(isKey(key));
    assert.equal(await readKey(place.file), undefined, "finding writes nothing");
    await keepKey(place, key, silentLog);
    for (const path of [place.file, place.copy]) {
      assert.equal(await Deno.readTextFile(path), key);
      assert.equal(await modeOf(path), 0o600);
    }
    await Deno.remove(place.file);
    assert.equal(await findKey(place), key, "a boot empties /run");
    const other = await replaceKey(place, silentLog);
    assert.notEqual(other, key);
    assert.deepEqual([await findKey(place), await readKey(place.copy)], [other, other]);
    const names = (await Array.fromAsync(Deno.readDir(`${folder}/run`))).map(({ name }) => name);
    assert.deepEqual(names, ["wgkey"], "no temporary file is left");
  }));

Deno.test("wireguard keys: the original's file is used as it is, with mode 0400", () =>
  withFolder(async (folder) => {
    const file = `${folder}/wgkey`, key = generatePrivateKey();
    await Deno.writeTextFile(file, key, { mode: 0o400 });
    await keepKey({ file }, await findKey({ file }), silentLog);
    assert.equal(await Deno.readTextFile(file), key);
    assert.equal(await modeOf(file), 0o400);
  }));

Deno.test("wireguard keys: a file that others may read, or that holds no key, is refused and left alone", () =>
  withFolder(async (folder) => {
    const file = `${folder}/wgkey`, key = generatePrivateKey();
    for (
      const [text, mode, message] of [
        [key, 0o640, /has mode 0640, which lets others read it: .*chmod 600/],
        [key, 0o604, /has mode 0604/],
        [key.slice(1), 0o600, /holds no WireGuard key/],
        ["", 0o600, /holds no WireGuard key/],
        ["x".repeat(44), 0o600, /holds no WireGuard key/],
      ] as const
    ) {
      await Deno.writeTextFile(file, text);
      await Deno.chmod(file, mode);
      await assert.rejects(findKey({ file }), (error: unknown) => {
        assert.ok(error instanceof KeyFileError);
        assert.match(error.message, message);
        assert.ok(!error.message.includes(key), "the message holds the key");
        return true;
      });
      assert.equal(await Deno.readTextFile(file), text);
    }
  }));

Deno.test("wireguard keys: WIREGUARD_KEY_FILE names another file, which is nobody's to remove", () => {
  const none = () => undefined, named = () => "/etc/wgkey";
  assert.deepEqual(keyPlace(none), { file: "/run/flannel/wgkey", copy: "/var/lib/flannel/wgkey" });
  assert.deepEqual(keyPlace(named), { file: "/etc/wgkey" });
  assert.deepEqual(ownKeyFiles(none), ["/run/flannel/wgkey", "/var/lib/flannel/wgkey"]);
  assert.deepEqual(ownKeyFiles(named), []);
});
