/** Windows: the inputs that outputs need, and the outputs that depend on inputs. A window is [start, stop) per axis. */

import { outputSize, type Axis, type Geometry, type Index } from "./geometry";

export type Window = readonly [number, number];

/** Smallest window over inclusive spans; (0, 0) if all are empty. */
function hull(spans: readonly Window[]): Window {
  const present = spans.filter(([first, last]) => first <= last);
  if (!present.length) return [0, 0];
  return [Math.min(...present.map(([first]) => first)), Math.max(...present.map(([, last]) => last)) + 1];
}

const taps = (axis: Axis): number[] => Array.from({ length: axis.kernel }, (_, t) => axis.dilation * t - axis.crop[0]);

/** Inputs that a window of the output needs, the smallest range per axis. Without sizes the input has no ends. */
export function inputWindow(geometry: Geometry, output: readonly Window[], input?: Index): Window[] {
  return geometry.axes.map((axis, a) => {
    let [start, stop] = output[a]!;
    const n = input?.[a];
    if (n !== undefined) [start, stop] = [Math.max(start, 0), Math.min(stop, outputSize(axis, n))];
    return hull(
      taps(axis).map((reach): Window => {
        const first = Math.ceil((start - reach) / axis.stride);
        const last = Math.floor((stop - 1 - reach) / axis.stride);
        return n === undefined ? [first, last] : [Math.max(first, 0), Math.min(last, n - 1)];
      }),
    );
  });
}

/** Outputs that depend on a window of the input, the smallest range per axis. Without sizes the output has no ends. */
export function outputWindow(geometry: Geometry, window: readonly Window[], input?: Index): Window[] {
  return geometry.axes.map((axis, a) => {
    let [start, stop] = window[a]!;
    const n = input?.[a];
    if (n !== undefined) [start, stop] = [Math.max(start, 0), Math.min(stop, n)];
    return hull(
      taps(axis).flatMap((reach): Window[] => {
        let [first, last] = [start, stop - 1];
        if (n !== undefined) {
          // only inputs whose product with this tap stays inside the output
          first = Math.max(first, Math.ceil(-reach / axis.stride));
          last = Math.min(last, Math.floor((outputSize(axis, n) - 1 - reach) / axis.stride));
        }
        return first <= last ? [[axis.stride * first + reach, axis.stride * last + reach]] : [];
      }),
    );
  });
}
