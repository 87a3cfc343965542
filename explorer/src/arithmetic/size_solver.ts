/** Search for the settings that give wanted sizes: `tconv.solve`, in the same domain and order. */

import { intsOf } from "../dialects/arguments";
import { source } from "../dialects/value";
import { extent, type Geometry, type Index, type Pair } from "./geometry";
import { choices } from "./indices";
import { overlapOf } from "./phases";
import { refuse } from "./refusal";

/** Largest kernel and stride that are searched where none is given. */
const LARGEST = 8;
const MOST = 20_000;
/** Most of all kernels and strides together, for which one can wait. */
const MOST_IN_ALL = 2 * MOST;

/** Sizes per axis, or one for all; what is left out is found. */
export interface Wanted {
  readonly input?: number | Index;
  readonly output?: number | Index;
  readonly kernel?: number | Index;
  readonly stride?: number | Index;
  readonly dilation?: number | Index;
}

export interface Solution {
  readonly geometry: Geometry;
  readonly input: Index;
  readonly output: Index;
}

/** n, L, lo, hi of one axis. */
type Setting = readonly [number, number, number, number];

/** Every setting of the domain that makes `output` from `input`, the best first. Refuses sizes that make no sense. */
export function solve(wanted: Wanted): Solution[] {
  const { input, output, kernel, stride, dilation = 1 } = wanted;
  if (input === undefined && output === undefined) {
    refuse(
      "input",
      "neither input= nor output= was given; at least one size is needed. Write tconv.solve(input=8, output=16, " +
        "kernel=4, stride=2)",
    );
  }
  const given = Object.entries({ input, output, kernel, stride, dilation });
  const lengths = given.flatMap(([name, sizes]) => (Array.isArray(sizes) ? [[name, sizes.length] as const] : []));
  if (new Set(lengths.map(([, length]) => length)).size > 1) {
    refuse(
      "input",
      "the arguments have different numbers of axes: " +
        `{${lengths.map(([name, length]) => `${source(name)}: ${length}`).join(", ")}}. Use one int, or one entry per ` +
        "axis, in each",
    );
  }
  const ndim = lengths[0]?.[1] ?? 1;
  const read = (sizes: number | Index | undefined, name: string): number[] | null =>
    sizes === undefined ? null : intsOf(sizes, name, ndim, { least: 1 });
  const small = read(input, "input");
  const large = read(output, "output");
  const any = Array.from({ length: LARGEST }, (_, at) => Array.from({ length: ndim }, () => at + 1));
  const kernelGiven = read(kernel, "kernel");
  const strideGiven = read(stride, "stride");
  const steps = read(dilation, "dilation")!;
  const found: Solution[] = [];
  for (const [k, s] of choices([kernelGiven ? [kernelGiven] : any, strideGiven ? [strideGiven] : any])) {
    found.push(...settings(small, large, k!, s!, steps));
    if (found.length > MOST_IN_ALL) tooMany(found.length);
  }
  return found
    .map((solution) => ({ solution, rank: [...rankOf(solution.geometry), ...solution.input] }))
    .sort((a, b) => compared(a.rank, b.rank))
    .map(({ solution }) => solution);
}

function compared(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((number, n) => number !== b[n]);
  return at < 0 ? 0 : a[at]! - b[at]!;
}

/** Sort key: even overlap, a symmetric crop, no output_padding, small kernel, stride and crop. */
function rankOf(geometry: Geometry): number[] {
  const { axes } = geometry;
  const total = (of: (crop: Pair) => number): number => axes.reduce((sum, axis) => sum + of(axis.crop), 0);
  return [
    overlapOf(geometry).filter((counts) => counts.some((count) => count !== counts[0])).length,
    total(([lo, hi]) => Math.abs(lo - hi)),
    // padding cannot crop more behind than in front
    total(([lo, hi]) => (hi > lo ? 1 : 0)),
    total(([lo, hi]) => Math.max(0, lo - hi)),
    axes.reduce((sum, axis) => sum + axis.kernel, 0),
    axes.reduce((sum, axis) => sum + axis.stride, 0),
    total(([lo, hi]) => Math.abs(lo) + Math.abs(hi)),
    ...axes.map((axis) => axis.kernel),
    ...axes.map((axis) => axis.stride),
    ...axes.flatMap((axis) => axis.crop),
  ];
}

/** Solutions of one kernel and stride. Axes of equal size and arguments get equal crops. */
function settings(small: Index | null, large: Index | null, kernel: Index, stride: Index, dilation: Index): Solution[] {
  const axes = kernel.map((k, a) => [small?.[a] ?? null, large?.[a] ?? null, k, stride[a]!, dilation[a]!] as const);
  const keys = axes.map(String);
  const distinct = [...new Set(keys)];
  const options = distinct.map((key) => axisSettings(...axes[keys.indexOf(key)]!));
  const count = options.reduce((all, some) => all * some.length, 1);
  if (count > MOST) tooMany(count);
  return choices(options).map((chosen) => {
    const each = keys.map((key) => chosen[distinct.indexOf(key)]!);
    return {
      geometry: {
        groups: 1,
        axes: each.map(([, , lo, hi], a) => ({
          kernel: kernel[a]!,
          stride: stride[a]!,
          dilation: dilation[a]!,
          crop: [lo, hi],
        })),
      },
      input: each.map(([n]) => n),
      output: each.map(([, L]) => L),
    };
  });
}

function tooMany(count: number): never {
  refuse(
    "input",
    `${count} settings fit; at most ${MOST} can be listed. Use fewer axes at a time, or give input, output, kernel and ` +
      "stride",
  );
}

/** Settings over the domain of one axis. */
function axisSettings(n: number | null, L: number | null, k: number, s: number, d: number): Setting[] {
  const e = extent({ kernel: k, stride: s, dilation: d, crop: [0, 0] });
  const extra = Math.max(s, d) - 1;
  const found: Setting[] = [];
  for (let lo = 0; lo < e; lo++) {
    if (n !== null && L !== null) {
      const hi = s * (n - 1) + e - lo - L;
      if (-extra <= hi && hi <= e - 1) found.push([n, L, lo, hi]);
      continue;
    }
    for (let hi = Math.max(-extra, lo - extra); hi <= lo; hi++) {
      if (n !== null) {
        const out = s * (n - 1) + e - lo - hi;
        if (out >= 1) found.push([n, out, lo, hi]);
      } else {
        const rest = L! + lo + hi - e;
        if (rest >= 0 && rest % s === 0) found.push([rest / s + 1, L!, lo, hi]);
      }
    }
  }
  return found;
}
