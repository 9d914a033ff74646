// Cuts a stretch out of a capture, as a capture of its own: cut.mjs CAPTURE PHASE|idle OUTPUT
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';

const [capture, phase, output] = process.argv.slice(2);
const read = (name) => fs.readFileSync(path.join(capture, name));
const lines = (name) => zlib.gunzipSync(read(name)).toString().trim().split('\n').map((line) => JSON.parse(line));
const manifest = JSON.parse(read('capture.json'));
const pages = lines('vllm.jsonl.gz');
const first = manifest.phases[0];
// Idle is what was before the first load.
const { t_start, t_load_end } = phase === 'idle' ? { t_start: pages[0].t_start - 1, t_load_end: first.t_start - 0.5 } : manifest.phases.find(({ name }) => name === phase);
const inside = (time, around) => time >= t_start + 1 - around && time <= t_load_end + around;

const own = pages.filter((page) => page.body && inside(page.t_start, 0));
// The first page has what later ones leave out: its lines, with the values of now.
const series = (line) => line.slice(0, line.lastIndexOf(' '));
const now = new Map(own[0].body.split('\n').map((line) => [series(line), line]));
own[0].body = pages[0].body.split('\n').map((line) => now.get(series(line)) ?? line).join('\n');

fs.mkdirSync(output, { recursive: true });
const write = (name, all) => fs.writeFileSync(path.join(output, name), zlib.gzipSync(all.map((line) => JSON.stringify(line) + '\n').join('')));
fs.writeFileSync(path.join(output, 'capture.json'), JSON.stringify({ ...manifest, phases: [] }));
fs.copyFileSync(path.join(capture, 'config.json'), path.join(output, 'config.json'));
write('vllm.jsonl.gz', own);
write('gpu.jsonl.gz', lines('gpu.jsonl.gz').filter(({ t }) => inside(t, 0)));
console.log(own.length);
