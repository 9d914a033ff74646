// Prometheus' answers as Grafana's data frames. Grafana's own data source is AGPL; this is the little of it that the panels need.
import { DataFrame, FieldType, toDataFrame } from '@grafana/data';

export interface Target {
  refId: string;
  expr: string;
  legendFormat: string;
  format: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
}

export interface Range {
  base: string;
  from: number;
  to: number;
  step: number;
  variables: Record<string, string>;
}

interface Series {
  metric: Record<string, string>;
  points: Array<[number, string | null]>;
}

export async function framesOf(targets: Target[], range: Range): Promise<DataFrame[]> {
  const answers = await Promise.all(targets.map(async (target) => ({ target, series: await ask(target, range) })));
  const answered = answers.filter(({ series }) => series.length > 0);
  return answered.flatMap(({ target, series }) =>
    target.format === 'table' ? [tableOf(target, series, targets.length > 1)] : series.map((one) => lineOf(target, target.instant ? one : withGaps(one, range)))
  );
}

async function ask(target: Target, range: Range): Promise<Series[]> {
  const url = new URL(range.base + (target.instant ? '/api/v1/query' : '/api/v1/query_range'));
  const parameters: Record<string, number> = target.instant
    ? { time: range.to }
    : { start: range.from, end: range.to, step: range.step };
  url.searchParams.set('query', resolved(target.expr, range.variables));
  Object.entries(parameters).forEach(([name, value]) => url.searchParams.set(name, String(value)));
  const answer = await (await fetch(url)).json();
  if (answer.status !== 'success') {
    throw new Error(`${target.refId}: ${answer.error}`);
  }
  return answer.data.result.map((series: any) => ({ metric: series.metric, points: series.values ?? [series.value] }));
}

function resolved(expression: string, variables: Record<string, string>): string {
  return Object.entries(variables).reduce((text, [name, value]) => text.replaceAll('$' + name, value), expression);
}

function lineOf(target: Target, series: Series): DataFrame {
  const name = target.legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => series.metric[label] ?? '');
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.points.map(([time]) => time * 1000) },
      {
        name: 'Value',
        type: FieldType.number,
        labels: series.metric,
        config: name ? { displayNameFromDS: name } : {},
        values: series.points.map(([, value]) => (value === null ? null : Number(value))),
      },
    ],
  });
}

// A step without a point is a gap, not a line across it.
function withGaps({ metric, points }: Series, { from, to, step }: Range): Series {
  const known = new Map(points);
  const steps = Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, at) => from + at * step);
  return { metric, points: steps.map((time) => [time, known.get(time) ?? null]) };
}

// One row a point: time, labels in order, value.
function tableOf(target: Target, series: Series[], several: boolean): DataFrame {
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const rows = series.flatMap(({ metric, points }) => points.map(([time, value]) => ({ metric, time, value })));
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: rows.map(({ time }) => time * 1000) },
      ...labels.map((label) => ({ name: label, type: FieldType.string, values: rows.map(({ metric }) => metric[label] ?? '') })),
      { name: several ? `Value #${target.refId}` : 'Value', type: FieldType.number, values: rows.map(({ value }) => Number(value)) },
    ],
  });
}
