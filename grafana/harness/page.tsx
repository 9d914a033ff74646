// A dashboard on a page: data through Grafana's transformations and field overrides, panels by Grafana's components where they are
// published (time series, stat, bar gauge), by its chart builder (XY), by our own drawing (state timelines), or as text (the rest).
import {
  DataFrame, FieldType, PanelPlugin, ThemeContext, applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, formattedValueToString,
  getDisplayValueAlignmentFactors, getFieldDisplayName, getFieldDisplayValues, standardEditorsRegistry, standardFieldConfigEditorRegistry, standardTransformers,
  standardTransformersRegistry, transformDataFrame,
} from '@grafana/data';
import { BarGauge, BigValue, TimeSeries } from '@grafana/ui';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';
import { Range, framesOf } from './query';
import { drawTimeline } from './timeline';
import { drawXY } from './xychart';

const CELL = 38;
const theme = createTheme({ colors: { mode: 'dark' } });

// Grafana registers these at its start, with editors that nobody needs here.
const nothing: any = () => null;
const unwrapped = (transformer: any) => (GRAFANA_MAJOR < 12 ? transformer : async () => transformer);
const stub = (id: string) => ({ id, path: id, name: id, editor: nothing, override: nothing, process: (value: any) => value, shouldApply: () => true });
standardTransformersRegistry.setInit(() =>
  Object.values(standardTransformers)
    .filter((transformer: any, at, all) => transformer?.id && all.findIndex((other: any) => other?.id === transformer.id) === at)
    .map((transformer: any) => ({ id: transformer.id, name: transformer.name, transformation: unwrapped(transformer), editor: nothing })) as any
);
standardEditorsRegistry.setInit((() => ['number', 'slider', 'text', 'boolean', 'select', 'radio', 'color', 'fieldColor', 'unit', 'strings', 'multi-select', 'thresholds', 'mappings', 'links', 'stats-picker', 'field-name', 'timezone'].map(stub)) as any);
standardFieldConfigEditorRegistry.setInit((() => ['unit', 'min', 'max', 'fieldMinMax', 'decimals', 'displayName', 'color', 'noValue', 'links', 'actions', 'mappings', 'thresholds', 'filterable'].map(stub)) as any);

// The custom options of the panels, with Grafana's defaults.
const CUSTOM: Record<string, any> = {
  show: 'points', pointSize: 5, 'pointSize.fixed': 5, pointShape: 'circle', pointStrokeWidth: 1, drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1,
  lineStyle: undefined, fillOpacity: 0, gradientMode: 'none', showPoints: 'auto', spanNulls: false, stacking: { mode: 'none', group: 'A' }, axisLabel: '',
  axisPlacement: 'auto', scaleDistribution: { type: 'linear' }, thresholdsStyle: { mode: 'off' }, hideFrom: { tooltip: false, viz: false, legend: false },
  axisCenteredZero: false, axisColorMode: 'text', axisBorderShow: false, barAlignment: 0, insertNulls: false, align: 'auto', cellOptions: undefined, width: undefined,
  filterable: undefined,
};
const registry = (new PanelPlugin(null as any) as any).useFieldConfig({
  useCustomConfig: (builder: any) =>
    Object.entries(CUSTOM)
      .filter(([path]) => path !== 'pointSize')
      .forEach(([path, defaultValue]) => builder.addCustomEditor({ ...stub(path), defaultValue, shouldApply: ({ type }: any) => type !== FieldType.time })),
}).fieldConfigRegistry;

async function dataOf(panel: any, range: Range): Promise<DataFrame[]> {
  const raw = await framesOf(panel.targets, range);
  const context: any = { interpolate: (text: string) => text };
  const transformed = await lastValueFrom(transformDataFrame(panel.transformations ?? [], raw, context) as any) as DataFrame[];
  const data = applyFieldOverrides({ data: transformed, fieldConfig: withNumberPoints(panel), theme, replaceVariables: (text: string) => text, fieldConfigRegistry: registry } as any);
  cacheFieldDisplayNames(data);
  return data;
}

// `pointSize` is a number on time series and an object on XY charts.
function withNumberPoints(panel: any) {
  const custom = panel.fieldConfig.defaults.custom ?? {};
  return { ...panel.fieldConfig, defaults: { ...panel.fieldConfig.defaults, custom: { ...custom, pointSize: custom.pointSize ?? { fixed: 5 } } } };
}

(globalThis as any).drawDashboard = async (dashboard: any, range: Range, width: number) => {
  const rows = dashboard.panels.map(({ gridPos }: any) => gridPos.y + gridPos.h);
  document.body.style.cssText = `margin:0;background:${theme.colors.background.canvas};color:${theme.colors.text.primary};font:14px Inter,sans-serif;position:relative;width:${width}px;height:${Math.max(...rows) * CELL}px`;
  document.head.appendChild(document.createElement('style')).textContent = 'button{color:inherit;background:none;border:0;font:inherit}';
  const drawn: any = {};
  for (const panel of dashboard.panels) {
    const element = place(panel, width);
    if (panel.type !== 'row') {
      drawn[`${panel.id} ${panel.title}`] = await draw(panel, range, element);
    }
  }
  return drawn;
};

function place(panel: any, width: number): HTMLElement {
  const { x, y, w, h } = panel.gridPos;
  const box = document.body.appendChild(document.createElement('div'));
  const row = panel.type === 'row';
  box.id = `panel-${panel.id}`;
  box.style.cssText = `position:absolute;overflow:hidden;left:${(x * width) / 24 + 4}px;top:${y * CELL + 4}px;width:${(w * width) / 24 - 8}px;height:${h * CELL - 8}px;${row ? '' : `background:${theme.colors.background.primary};border:1px solid ${theme.colors.border.weak}`}`;
  box.appendChild(document.createElement('div')).textContent = panel.title;
  (box.firstChild as HTMLElement).style.cssText = 'padding:4px 8px;font-weight:500;height:22px';
  const inner = box.appendChild(document.createElement('div'));
  inner.style.cssText = 'padding:0 8px;height:calc(100% - 38px);overflow:hidden';
  return inner;
}

async function draw(panel: any, range: Range, element: HTMLElement) {
  const data = await dataOf(panel, range);
  const [width, height] = [element.clientWidth - 16, element.clientHeight];
  const shape = data.map((frame) => ({ rows: frame.length, fields: frame.fields.map((field) => getFieldDisplayName(field, frame, data)) }));
  // As Grafana does where nothing was answered; a stat has a word of its own for it.
  if (shape.length === 0 && panel.type !== 'stat') {
    element.textContent = panel.fieldConfig.defaults.noValue ?? 'No data';
    element.style.textAlign = 'center';
    return { shape };
  }
  if (panel.type === 'state-timeline') {
    drawTimeline(data, theme, element, width, height, range.from, range.to);
    return { shape };
  }
  if (panel.type === 'xychart') {
    return { shape, ...drawXY(panel, data, theme, element, width, height) };
  }
  const component = componentOf(panel, data, range, width, height);
  if (component) {
    createRoot(element).render(<ThemeContext.Provider value={theme}>{component}</ThemeContext.Provider>);
  } else {
    element.appendChild(asText(data));
  }
  return { shape };
}

function componentOf(panel: any, data: DataFrame[], range: Range, width: number, height: number) {
  if (panel.type === 'timeseries') {
    const [from, to] = [dateTime(range.from * 1000), dateTime(range.to * 1000)];
    const timeRange = { from, to, raw: { from, to } };
    const numbered = data.map((frame) => ({ ...frame, fields: frame.fields.map((field) => ({ ...field, config: { ...field.config, custom: { ...field.config.custom, pointSize: 5 } } })) }));
    return <TimeSeries frames={numbered as any} width={width} height={height} timeRange={timeRange as any} timeZone="utc" legend={panel.options.legend} options={panel.options} structureRev={1} replaceVariables={(text: string) => text} {...({} as any)} />;
  }
  const values = () => getFieldDisplayValues({ fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables: (text: string) => text, theme, data, timeZone: 'utc' } as any);
  if (panel.type === 'stat') {
    const shown = values();
    // Grafana lays `vertical` values side by side.
    const beside = panel.options.orientation === 'vertical' ? shown.length : 1;
    const size = { width: width / beside, height: (height * beside) / shown.length };
    const drawn = shown.map(({ display }, at) => <BigValue key={at} value={display} theme={theme} {...size} colorMode={panel.options.colorMode} graphMode={panel.options.graphMode} justifyMode={panel.options.justifyMode} textMode={panel.options.textMode} />);
    return <div style={{ display: 'flex', flexDirection: beside > 1 ? 'row' : 'column' }}>{drawn}</div>;
  }
  if (panel.type === 'bargauge') {
    const shown = values();
    const { orientation, displayMode, namePlacement, text } = panel.options;
    const alike = { theme, width, height: Math.min(Math.floor(height / shown.length) - 8, panel.options.maxVizHeight), orientation, displayMode, namePlacement, text, alignmentFactors: getDisplayValueAlignmentFactors(shown), itemSpacing: 8 };
    return <div style={{ display: 'flex', flexDirection: 'column', gap: 8 }}>{shown.map(({ display, field }, at) => <BarGauge key={at} value={display} field={field as any} {...alike} />)}</div>;
  }
  return undefined;
}

// Rows of a table; of series, the name and the last value: as Grafana formats, maps and colours them.
function asText(data: DataFrame[]): HTMLElement {
  const table = document.createElement('table');
  table.style.cssText = 'border-spacing:14px 2px;font-size:12px';
  const tabular = data.length === 1 && data[0].fields.length > 2;
  const line = (cells: Array<{ text: string; color?: string }>) => {
    const row = table.appendChild(document.createElement('tr'));
    cells.forEach(({ text, color }) => {
      const cell = row.appendChild(document.createElement('td'));
      cell.textContent = text;
      cell.style.color = color ?? 'inherit';
    });
  };
  const shown = (field: any, at: number) => {
    const display = field.display?.(field.values[at]);
    return display ? { text: formattedValueToString(display), color: field.type === FieldType.number ? display.color : undefined } : { text: String(field.values[at] ?? '') };
  };
  if (tabular) {
    const fields = data[0].fields;
    line(fields.map((field) => ({ text: getFieldDisplayName(field, data[0], data) })));
    Array.from({ length: data[0].length }, (_, at) => line(fields.map((field) => shown(field, at))));
  } else {
    data.forEach((frame) => frame.fields.filter(({ type }) => type === FieldType.number).forEach((field) => line([{ text: getFieldDisplayName(field, frame, data) }, shown(field, frame.length - 1)])));
  }
  return table;
}

declare const GRAFANA_MAJOR: number;
