/** Readers of arguments: integers, one per axis, or one pair per axis. A mistake has the same words as in Python. */

import type { Geometry, Pair } from "../arithmetic/geometry";
import { tuple } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { shown, source, type Arguments, type Value } from "./value";

export interface Limits {
  readonly least?: number;
  /** Text that says how many entries there must be. */
  readonly needed?: string;
  /** Text that a message proposes. */
  readonly example?: string;
}

const isInteger = (value: Value): value is number => typeof value === "number" && Number.isInteger(value);
const usual = (least?: number): number => (least === 1 ? 2 : 1);
const repeated = <T>(value: T, count: number): T[] => Array.from({ length: count }, () => value);
const counted = (entries: readonly Value[]): string =>
  `${entries.length} ${entries.length === 1 ? "entry" : "entries"}`;
/** Field that a name of a message belongs to: "the spatial part of output_shape" is about output_shape. */
const fieldOf = (name: string): string => name.split(" ").at(-1)!;

export const entriesOf = (value: Value | undefined): readonly Value[] | null =>
  Array.isArray(value) ? Array.from(value as readonly Value[]) : null;

export function intOf(value: Value, name: string, { least, example }: Limits = {}): number {
  if (!isInteger(value)) {
    const instead = example ?? `${name}=${usual(least)}`;
    refuse(fieldOf(name), `${name} is ${shown(value)}; an integer is needed. Write ${instead}, for example`);
  }
  if (least !== undefined && value < least) {
    const instead = example ?? `${name}=${Math.max(least, 1)}`;
    refuse(fieldOf(name), `${name} is ${value}; it must be at least ${least}. Write ${instead}, for example`);
  }
  return value;
}

/** One integer per axis: a single one means the same on every axis. */
export function intsOf(value: Value, name: string, ndim: number, limits: Limits = {}): number[] {
  const given = entriesOf(value);
  if (!given) return repeated(intOf(value, name, limits), ndim);
  const { least, needed, example } = limits;
  const integers = given.filter(isInteger);
  const allowed = integers.length === given.length && (least === undefined || integers.every((n) => n >= least));
  if (allowed && given.length === ndim) return integers;
  let text = shown(given);
  if (given.length !== ndim) {
    const one = repeated(integers[0] ?? 1, ndim);
    refuse(
      fieldOf(name),
      `${name} is ${text}, which has ${counted(given)}; ${needed ?? `there are ${ndim} spatial axes`}. ` +
        `Write ${example ?? `one integer for all axes, or ${tuple(one)}`}`,
    );
  }
  const rule = integers.length < ndim ? "an integer" : `at least ${least}`;
  const unknown = given.flatMap((entry, axis) => (isUnknown(entry) ? [axis] : []));
  if (unknown.length) text += `, of unknown size on axis ${unknown.join(" and ")}`;
  const corrected = given.map((entry) =>
    !isInteger(entry) ? usual(least) : least === undefined ? entry : Math.max(entry, least) || 1,
  );
  return refuse(
    fieldOf(name),
    `${name} is ${text}; every entry must be ${rule}. Write ${example ?? `${name}=${tuple(corrected)}`}, for example`,
  );
}

const isUnknown = (entry: Value): boolean => entry === null || (typeof entry === "string" && !/^\d+$/.test(entry));

/** One (lo, hi) pair per axis: an integer means that much on both sides. */
export function pairsOf(value: Value, name: string, ndim: number, axes = "spatial", example?: string): Pair[] {
  const given = entriesOf(value);
  if (!given) {
    const size = intOf(value, name, { example: `${name}=1` });
    return repeated([size, size], ndim);
  }
  const instead = example ?? `${name}=${source(repeated([1, 1], ndim))}`;
  if (given.length !== ndim) {
    refuse(
      name,
      `${name} is ${shown(value)}, which has ${counted(given)}; there are ${ndim} ${axes} axes. ` +
        `Write ${instead}: one (lo, hi) pair per axis`,
    );
  }
  return given.map((entry) => {
    const sides = entriesOf(entry) ?? [entry, entry];
    const [lo, hi] = sides;
    if (sides.length !== 2 || !isInteger(lo!) || !isInteger(hi!)) {
      return refuse(
        name,
        `${name} contains ${shown(entry)}; one (lo, hi) pair of integers per ${axes} axis is needed. ` +
          `Write ${instead}, for example`,
      );
    }
    return [lo, hi];
  });
}

export function flagOf(value: Value, name: string): boolean {
  if (typeof value !== "boolean" && value !== 0 && value !== 1) {
    refuse(name, `${name} is ${shown(value)}; True or False is needed. Write ${name}=True`);
  }
  return Boolean(value);
}

/** Geometry without a crop; `names` are those of stride, dilation and groups in the dialect. */
export function plainGeometry(
  kernel: readonly number[],
  stride: Value,
  dilation: Value = 1,
  groups: Value = 1,
  names = "stride dilation groups",
): Geometry {
  const [strideName, dilationName, groupsName] = names.split(" ") as [string, string, string];
  const strides = intsOf(stride, strideName, kernel.length, { least: 1 });
  const dilations = intsOf(dilation, dilationName, kernel.length, { least: 1 });
  return {
    groups: intOf(groups, groupsName, { least: 1, example: `${groupsName}=1` }),
    axes: kernel.map((size, a) => ({ kernel: size, stride: strides[a]!, dilation: dilations[a]!, crop: [0, 0] })),
  };
}

/** One number where all axes agree, else all of them. */
export const compact = (values: readonly number[]): Value =>
  values.every((value) => value === values[0]) ? values[0]! : [...values];

export const strides = (geometry: Geometry): number[] => geometry.axes.map((axis) => axis.stride);
export const dilations = (geometry: Geometry): number[] => geometry.axes.map((axis) => axis.dilation);
export const kernelOf = (geometry: Geometry): number[] => geometry.axes.map((axis) => axis.kernel);
export const crops = (geometry: Geometry): Pair[] => geometry.axes.map((axis) => axis.crop);

/** Keyword arguments as source, each after a comma, without those at their default. */
export function keywords(given: Arguments, defaults: Arguments): string {
  const written = Object.entries(given).filter(
    ([name, value]) => !(name in defaults) || source(defaults[name]!) !== source(value),
  );
  return written.map(([name, value]) => `, ${name}=${source(value)}`).join("");
}
