// Holds every panel of every dashboard to the types that Grafana publishes for it: schema.mjs DASHBOARDS
import Ajv from 'ajv';
import { createGenerator } from 'ts-json-schema-generator';
import fs from 'node:fs';
import path from 'node:path';

const SCHEMAS = {
  bargauge: 'BarGaugePanelCfg', heatmap: 'HeatmapPanelCfg', stat: 'StatPanelCfg', 'state-timeline': 'StateTimelinePanelCfg',
  table: 'TablePanelCfg', timeseries: 'TimeSeriesPanelCfg', xychart: 'XYChartPanelCfg',
};
const types = 'node_modules/@grafana/schema/dist/esm/raw/composable';

const compiled = new Map();
function validator(kind, type) {
  const key = `${kind} ${type}`;
  if (!compiled.has(key)) compiled.set(key, compile(kind, type));
  return compiled.get(key);
}

function compile(kind, type) {
  const folder = path.join(types, kind.replace('-', ''), 'panelcfg');
  const file = find(folder, `${SCHEMAS[kind]}_types.gen`);
  if (!new RegExp(`export (interface|type) ${type}\\b`).test(fs.readFileSync(file, 'utf8'))) return undefined;
  const schema = createGenerator({ path: file, type, skipTypeCheck: true, additionalProperties: false }).createSchema(type);
  return new Ajv({ strict: false, allErrors: true }).compile(relaxed(schema));
}

function find(folder, name) {
  const files = fs.readdirSync(folder, { recursive: true }).filter((file) => path.basename(file).startsWith(name) && file.endsWith('.d.ts'));
  if (files.length !== 1) throw new Error(`${folder} has ${files.length} files ${name}*.d.ts`);
  return path.join(folder, files[0]);
}

// Grafana fills in defaults: nothing is required.
function relaxed(schema) {
  return JSON.parse(JSON.stringify(schema), (key, value) => (key === 'required' && Array.isArray(value) ? undefined : value));
}

const nested = (path, value) => path.reduceRight((inner, key) => ({ [key]: inner }), value);

let failed = false;
let checked = 0;
function check(place, kind, type, value) {
  const validate = validator(kind, type);
  if (!validate || value === undefined) return;
  checked += 1;
  if (!validate(value)) {
    failed = true;
    for (const { instancePath, message, params } of validate.errors) console.error(`${place}: ${type}${instancePath} ${message} ${JSON.stringify(params)}`);
  }
}

const dashboards = process.argv[2];
for (const name of fs.readdirSync(dashboards).filter((file) => file.endsWith('.json'))) {
  for (const panel of JSON.parse(fs.readFileSync(path.join(dashboards, name), 'utf8')).panels) {
    if (panel.type === 'row') continue;
    const place = `${name}: ${panel.title}`;
    check(place, panel.type, 'Options', panel.options);
    check(place, panel.type, 'FieldConfig', panel.fieldConfig.defaults.custom);
    for (const { properties } of panel.fieldConfig.overrides) {
      for (const { id, value } of properties) {
        if (id.startsWith('custom.')) check(`${place}: ${id}`, panel.type, 'FieldConfig', nested(id.split('.').slice(1), value));
      }
    }
  }
}
if (checked === 0) throw new Error('nothing was checked');
console.log(`${checked} objects checked`);

// And the check can fail.
const xy = validator('xychart', 'Options');
if (xy({ seriesMapping: 'manual' }) || xy({ mapping: 'Manual' })) throw new Error('the schema accepts what Grafana does not');
process.exit(failed ? 1 : 0);
