// Draws every dashboard in Chromium: render.mjs DASHBOARDS OUTPUT PROMETHEUS EXPORTER [SECONDS]
import { chromium } from 'playwright-core';
import { createServer } from 'node:http';
import fs from 'node:fs';
import path from 'node:path';

const [dashboards, output, prometheus, exporter, seconds = '120'] = process.argv.slice(2);
const WIDTH = 1680;
// Without a load no phase has a point under the roof.
const IDLE = process.env.IDLE === 'yes';
const STEP = Number(process.env.STEP ?? 1);
const RATE = process.env.RATE ?? '8s';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
const server = createServer((request, response) => {
  const file = path.join('.', request.url === '/' ? 'index.html' : path.basename(request.url));
  if (!fs.existsSync(file)) return response.writeHead(404).end();
  response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'text/plain' }).end(fs.readFileSync(file));
}).listen(0, '127.0.0.1');
await new Promise((ready) => server.once('listening', ready));

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
let failed = false;
const fail = (why) => { failed = true; console.error(why); };
for (const name of fs.readdirSync(dashboards).filter((file) => file.endsWith('.json'))) {
  const dashboard = JSON.parse(fs.readFileSync(path.join(dashboards, name), 'utf8'));
  const page = await browser.newPage({ viewport: { width: WIDTH, height: 1000 } });
  page.on('pageerror', (error) => fail(`${name}: ${error}`));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const to = Math.floor(Date.now() / 1000);
  const all = Object.fromEntries(['job', 'cluster', 'namespace', 'pod', 'model_name'].map((variable) => [variable, '.*']));
  const variables = { ...all, __rate_interval: RATE, __range: `${seconds}s`, instance: name === 'roofline.json' ? exporter : '.*', target: process.env.TARGET ?? '' };
  const range = { base: prometheus, from: to - Number(seconds), to, step: STEP, variables };
  const drawn = await page.evaluate(([dashboard, range, width]) => drawDashboard(dashboard, range, width), [dashboard, range, WIDTH]);
  await page.waitForTimeout(1500);
  const base = path.join(output, path.basename(name, '.json'));
  await page.screenshot({ path: `${base}.png`, fullPage: true });
  for (const panel of dashboard.panels.filter(({ type }) => type === 'xychart')) {
    await page.locator(`#panel-${panel.id}`).screenshot({ path: `${base}-${panel.type}.png` });
    check(drawn[`${panel.id} ${panel.title}`]);
  }
  // A panel that has a word for it may be without data: nothing fires, nothing fails, nothing is asked for.
  const silent = dashboard.panels.filter(({ fieldConfig }) => !fieldConfig?.defaults.noValue).map(({ id, title }) => `${id} ${title}`);
  for (const panel of silent) if (drawn[panel]?.shape.length === 0) fail(`${name}: ${panel} has no data`);
  fs.writeFileSync(`${base}.json`, JSON.stringify(drawn, null, 1));
  await page.close();
}
await browser.close();
server.close();
process.exit(failed ? 1 : 0);

// Both axes logarithmic, the ridge a point of its own, everything under the highest roof.
function check({ scales, axes, series, missing }) {
  for (const key of axes) if (scales[key].distr !== 3 || scales[key].log !== 10) fail(`scale ${key} is not logarithmic`);
  if (missing > 0 && !IDLE) fail(`${missing} series of the roofline are missing`);
  const roof = series.filter(({ name }) => /roof/i.test(name));
  for (const { name, points } of roof) {
    const [left, ridge, right] = points;
    const onSlope = Math.abs(left[1] / left[0] / (ridge[1] / ridge[0]) - 1) < 1e-9;
    if (points.length !== 3 || !onSlope || ridge[1] !== right[1]) fail(`${name} is not a slope, a ridge and a ceiling`);
  }
  const below = ([x, y]) => roof.some(({ points: [, ridge] }) => y <= Math.min(ridge[1], (ridge[1] / ridge[0]) * x) * 1.02);
  const outside = series.filter(({ name }) => !/roof/i.test(name)).flatMap(({ name, points }) => points.filter((point) => !below(point)).map((point) => `${name} ${point}`));
  if (outside.length > 0) fail(`above the roof: ${outside.join('; ')}`);
  console.log(series.map(({ name, points }) => `${name}: ${points.length}`).join(', '));
}
