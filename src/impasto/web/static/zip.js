"use strict";
// Packs a dropped or selected folder into one archive: a ZIP without compression, as pictures are compressed already.

const PACKED = /\.(png|jpe?g|webp|avif|bmp|gif|tiff?|jsonl)$/i;
const REMAINDERS = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function checksum(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = REMAINDERS[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

// Little-endian numbers from pairs [bytes, value].
function record(...fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true); else view.setUint32(at, value, true);
    at += size;
  }
  return view.buffer;
}

// files: [path in the folder, File]. A ZIP is limited to 65,535 files and 4 GiB.
async function packed(files, name) {
  const parts = [], directory = [];
  let offset = 0, length = 0;
  for (const [path, file] of files) {
    const bytes = new Uint8Array(await file.arrayBuffer()), label = new TextEncoder().encode(path);
    const common = [[2, 20], [2, 0x0800], [2, 0], [2, 0], [2, 0x21], [4, checksum(bytes)], [4, bytes.length], [4, bytes.length], [2, label.length], [2, 0]];
    const head = record([4, 0x04034b50], ...common);
    const entry = record([4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]);
    parts.push(head, label, bytes);
    directory.push(entry, label);
    offset += head.byteLength + label.length + bytes.length;
    length += entry.byteLength + label.length;
    if (directory.length > 2 * 65535 || offset > 0xffffffff) throw new Error("too large");
  }
  const count = directory.length / 2;
  parts.push(...directory, record([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, length], [4, offset], [2, 0]));
  return new File(parts, `${name}.zip`, { type: "application/zip" });
}

// All pictures below a dropped folder.
async function filesBelow(folder, path = "") {
  const reader = folder.createReader(), found = [];
  for (;;) {
    const entries = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!entries.length) return found;
    for (const entry of entries) {
      if (entry.isDirectory) found.push(...await filesBelow(entry, `${path}${entry.name}/`));
      else if (PACKED.test(entry.name)) found.push([path + entry.name, await new Promise((resolve, reject) => { entry.file(resolve, reject); })]);
    }
  }
}

// The files of an <input webkitdirectory>, without the name of the folder in their paths.
const filesChosen = (files) => [...files].filter((file) => PACKED.test(file.name)).map((file) => [file.webkitRelativePath.split("/").slice(1).join("/"), file]);
