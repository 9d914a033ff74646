// The XY chart: axes and scales by Grafana's UPlotConfigBuilder. Which column goes on which axis follows Grafana's panel, whose code is
// AGPL and not published as a library: X scale of the first series, Y scale by unit, points in row order, those off the scale dropped.
import { DataFrame, Field, FieldType, GrafanaTheme2, formattedValueToString, getFieldMatcher } from '@grafana/data';
import { LegendDisplayMode } from '@grafana/schema';
import { UPlotConfigBuilder, VizLegend } from '@grafana/ui';
import React from 'react';
import { createRoot } from 'react-dom/client';
import uPlot from 'uplot';

interface Series {
  name: string;
  x: Field;
  y: Field;
  color: string;
}

const LEGEND_HEIGHT = 34;

export function drawXY(panel: any, frames: DataFrame[], theme: GrafanaTheme2, element: HTMLElement, width: number, height: number) {
  const series = resolve(panel, frames, theme);
  const builder = new UPlotConfigBuilder();
  builder.setMode(2 as any);
  axis(builder, theme, series[0].x, 'x', 'bottom');
  series.forEach((one) => {
    const scaleKey = one.y.config.unit ?? 'y';
    axis(builder, theme, one.y, scaleKey, 'left');
    builder.addSeries({
      theme, scaleKey: '', facets: [{ scale: 'x', auto: true }, { scale: scaleKey, auto: true }],
      lineColor: one.color, fillColor: one.color, show: true, pathBuilder: (plot: uPlot, at: number) => path(plot, at, one),
    } as any);
  });
  const chart = element.appendChild(document.createElement('div'));
  const data = [null, ...series.map(({ x, y }) => [x.values, y.values])];
  const plot = new uPlot({ ...builder.getConfig(), width, height: height - LEGEND_HEIGHT, legend: { show: false } } as any, data as any, chart);
  legend(series, element);
  return {
    scales: Object.fromEntries(Object.entries(plot.scales).map(([key, scale]: any) => [key, { min: scale.min, max: scale.max, distr: scale.distr, log: scale.log }])),
    series: series.map(({ name, x, y }) => ({ name, points: pairs(x, y) })),
    axes: ['x', series[0].y.config.unit],
    missing: panel.options.series.length - series.length,
  };
}

function pairs(x: Field, y: Field): Array<[number, number]> {
  return x.values.map((value: number, at: number) => [value, y.values[at]] as [number, number]).filter(([a, b]) => a != null && b != null);
}

function resolve(panel: any, frames: DataFrame[], theme: GrafanaTheme2): Series[] {
  return panel.options.series.flatMap((configured: any) => {
    const frame = frames[configured.frame.matcher.options];
    const field = (matcher: any) => {
      const matches = getFieldMatcher(matcher);
      return frame.fields.find((field) => field.type === FieldType.number && matches(field, frame, frames));
    };
    const [x, y] = [field(configured.x.matcher), field(configured.y.matcher)];
    const color = theme.visualization.getColorByName(y?.config.color?.fixedColor ?? 'text');
    return x && y ? [{ name: configured.name.fixed, x, y, color }] : [];
  });
}

function axis(builder: UPlotConfigBuilder, theme: GrafanaTheme2, field: Field, scaleKey: string, placement: string) {
  const { min, max, custom } = field.config;
  const vertical = placement === 'left';
  builder.addScale({
    scaleKey, isTime: false, orientation: vertical ? 1 : 0, direction: 1,
    distribution: custom.scaleDistribution?.type, log: custom.scaleDistribution?.log, min, max,
  } as any);
  builder.addAxis({
    scaleKey, theme, placement, label: custom.axisLabel,
    formatValue: (value: number, decimals: number) => formattedValueToString(field.display!(value, decimals)),
  } as any);
}

function path(plot: uPlot, at: number, { y, color }: Series) {
  const { show, lineWidth, lineStyle, pointSize, fillOpacity } = y.config.custom;
  uPlot.orient(plot, at, (_s, _x, _y, scaleX, scaleY, toX, toY, left, top, spanX, spanY) => {
    const [xs, ys] = plot.data[at] as any;
    const context = plot.ctx;
    const line = new Path2D();
    context.save();
    Object.assign(context, { strokeStyle: color, fillStyle: color, lineWidth });
    context.setLineDash(lineStyle?.fill === 'dash' ? lineStyle.dash : []);
    xs.forEach((valueX: number, row: number) => {
      const valueY = ys[row];
      const inside = valueX >= scaleX.min! && valueX <= scaleX.max! && valueY >= scaleY.min! && valueY <= scaleY.max!;
      if (valueX == null || valueY == null || !inside) {
        return;
      }
      const [pixelX, pixelY] = [toX(valueX, scaleX, spanX, left), toY(valueY, scaleY, spanY, top)];
      line.lineTo(pixelX, pixelY);
      if (show !== 'lines') {
        context.globalAlpha = fillOpacity / 100;
        context.beginPath();
        context.arc(pixelX, pixelY, pointSize.fixed / 2, 0, 2 * Math.PI);
        context.fill();
        context.globalAlpha = 1;
        context.stroke();
      }
    });
    if (show !== 'points') {
      context.stroke(line);
    }
    context.restore();
  });
  return null;
}

function legend(series: Series[], element: HTMLElement) {
  const items = series.map(({ name, color }) => ({ label: name, color, yAxis: 1 }));
  const place = element.appendChild(document.createElement('div'));
  createRoot(place).render(<VizLegend items={items} placement="bottom" displayMode={LegendDisplayMode.List} />);
}
