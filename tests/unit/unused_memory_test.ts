import assert from "node:assert/strict";
import { readKernelFile } from "../../lib/ffi/kernel_file.ts";
import { fileMappings, releaseUnusedMemory } from "../../lib/ffi/unused_memory.ts";

/** A mapping as smaps shows it. */
function mapping(range: string, permissions: string, path: string, anonymous: number): string {
  return `${range} ${permissions} 00000000 fe:00 4242                       ${path}
Size:               8192 kB
Rss:                4096 kB
Anonymous:      ${String(anonymous).padStart(8)} kB
AnonHugePages:         0 kB
VmFlags: rd ex mr mw me`;
}

Deno.test("file mappings: code, constants and a file with a space in its name", () => {
  const smaps = [
    mapping("55d0c0000000-55d0c0800000", "r-xp", "/opt/flannel/flanneld", 0),
    mapping("7f0000000000-7f0000001000", "r--p", "/usr/lib/libc.so.6 (deleted)", 0),
  ].join("\n");
  assert.deepEqual(fileMappings(smaps), [
    { start: 0x55d0c0000000n, length: 0x800000n },
    { start: 0x7f0000000000n, length: 0x1000n },
  ]);
});

Deno.test("file mappings: nothing that can't be read again from a file", () => {
  const smaps = [
    mapping("1000-2000", "rw-p", "/opt/flannel/flanneld", 0),
    mapping("2000-3000", "r--p", "/opt/flannel/flanneld", 4),
    mapping("3000-4000", "r-xp", "", 0),
    mapping("4000-5000", "r-xp", "[vdso]", 0),
    mapping("ffffffffff600000-ffffffffff601000", "--xp", "[vsyscall]", 0),
  ].join("\n");
  assert.deepEqual(fileMappings(smaps), []);
});

Deno.test("what only the start needed leaves memory, and the program runs on", () => {
  // Mapped pages of files, in kilobytes (proc_pid_status(5)).
  const resident = () => Number(/^RssFile:\s+(\d+) kB$/m.exec(readKernelFile("/proc/self/status"))?.[1]);
  const before = resident();
  releaseUnusedMemory();
  const after = resident();
  assert.ok(after < before * 0.8, `${after} kB after ${before} kB`);
  assert.equal(new Intl.NumberFormat("en").format(1e6), "1,000,000");
});
