/** Scene of the settings, or the mistakes that they contain, each at its field. */

import { cautionsOf } from "../dialects/cautions";
import limits from "../../../src/tconv/draw/explorer_limits.json";
import { geometryOf, dialectNamed } from "../dialects/reading";
import type { Dialect, Part } from "../dialects/dialect";
import { intsOf } from "../dialects/arguments";
import type { Mistake, Settings } from "../state/settings";
import { extent, fullSize, outputSize, tuple, type Axis, type Geometry, type Index } from "./geometry";
import { product } from "./indices";
import { numbersOf } from "./numbers";
import { overlapOf } from "./phases";
import { Refusal, refuse } from "./refusal";
import { makeScene, type Channels, type Scene } from "./scene";

/** Most elements per axis that the page draws, by the number of axes; tconv.draw.explore refuses more by the same file. */
export const MOST_INPUTS = limits.inputs;
const MOST_OUTPUTS = limits.outputs;
export const MOST_TAPS = limits.taps;
const MOST_CHANNELS = limits.channels;
const MOST_STEP = limits.step;
const MOST_CROP = limits.crop;
const MOST_PRODUCTS = limits.products;

export interface Built {
  /** null while the settings describe no operator; `mistakes` then says why. */
  readonly scene: Scene | null;
  readonly mistakes: readonly Mistake[];
  /** Remarks on settings that are legal, and surprising. */
  readonly notes: readonly Mistake[];
}

/** Build the scene of these settings; it never throws for any of them. */
export function sceneOf(settings: Settings): Built {
  const mistakes: Mistake[] = [];
  function attempt<T>(read: () => T): T | null {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      mistakes.push({ field: error.field, text: error.message });
      return null;
    }
  }
  const { rank } = settings;
  const dialect = attempt(() => dialectNamed(settings.dialect));
  const kernel = attempt(() => sizesOf(settings.kernel, "kernel", rank, MOST_TAPS[rank]));
  const input = attempt(() => sizesOf(settings.input, "input", rank, MOST_INPUTS[rank]));
  const channels = attempt(() => checkedChannels(settings.channels));
  if (!dialect || !kernel || !input || !channels) return { scene: null, mistakes, notes: [] };
  const geometry = attempt(() => geometryOf(dialect, kernel, input, settings.words));
  const scene = geometry && attempt(() => filledScene(settings, geometry, channels, input, dialect));
  if (!scene) return { scene, mistakes, notes: [] };
  const cautions = cautionsOf(dialect.name, scene.geometry, scene.inputShape).map(({ part, text }) => ({
    field: wordFor(dialect, settings, part),
    text,
  }));
  return { scene, mistakes, notes: [...notesOf(scene, wordFor(dialect, settings, "stride")), ...cautions] };
}

function sizesOf(given: readonly number[], name: string, rank: number, most: number): number[] {
  const sizes = intsOf(given.length === 1 ? given[0]! : given, name, rank, { least: 1 });
  if (Math.max(...sizes) > most) {
    const fewer = sizes.map((size) => Math.min(size, most));
    refuse(
      name,
      `${name} is ${tuple(sizes)}; this page draws at most ${most} per axis in ${rank}-D. Write ${tuple(fewer)} here, ` +
        "or compute it with tconv.conv_transpose",
    );
  }
  return sizes;
}

function checkedChannels(channels: Channels): Channels {
  for (const side of ["input", "output"] as const) {
    const [count] = intsOf([channels[side]], `${side} channels`, 1, { least: 1, example: "1" });
    if (count! > MOST_CHANNELS) {
      refuse(
        "channels",
        `${side} channels is ${count}; this page draws at most ${MOST_CHANNELS}. Write ${MOST_CHANNELS}`,
      );
    }
  }
  return channels;
}

/** Name of the dialect's argument for a part of the geometry; of several, one that is given. */
function wordFor(dialect: Dialect, settings: Settings, part: Part): string {
  const names = dialect.words(settings.rank).flatMap((word) => (word.part === part ? [word.name] : []));
  return names.find((name) => settings.words[name]) ?? names[0] ?? "dialect";
}

/** Refuse what is legal, and too much for a page. */
function checkLimits(geometry: Geometry, input: Index, settings: Settings, dialect: Dialect): void {
  const most = MOST_OUTPUTS[settings.rank];
  geometry.axes.forEach((axis, a) => {
    for (const [part, value, limit] of [
      ["stride", axis.stride, MOST_STEP],
      ["dilation", axis.dilation, MOST_STEP],
      ["crop", Math.max(...axis.crop.map(Math.abs)), MOST_CROP],
    ] as const) {
      if (value <= limit) continue;
      const field = wordFor(dialect, settings, part);
      refuse(
        field,
        `the ${part} is ${value} on spatial axis ${a}; this page draws at most ${limit}. Write ${limit} or less`,
      );
    }
    const longest = Math.max(fullSize(axis, input[a]!), outputSize(axis, input[a]!));
    if (longest > most) {
      refuse(
        "input",
        `the output would have ${longest} elements on spatial axis ${a}, with input ${input[a]}, stride ${axis.stride} ` +
          `and an extent of ${extent(axis)}; this page draws at most ${most}. Use a smaller input, stride or dilation`,
      );
    }
  });
}

function filledScene(
  settings: Settings,
  geometry: Geometry,
  channels: Channels,
  input: Index,
  dialect: Dialect,
): Scene {
  const { groups, axes } = geometry;
  checkLimits(geometry, input, settings, dialect);
  for (const side of ["input", "output"] as const) {
    if (channels[side] % groups) {
      refuse(
        "channels",
        `${side} channels is ${channels[side]}, which ${groups} groups do not divide. Use a multiple of ${groups}`,
      );
    }
  }
  const shape = [channels.input, channels.output / groups, ...axes.map((axis) => axis.kernel)];
  const products = product(input) * product(shape);
  if (products > MOST_PRODUCTS) {
    refuse(
      "input",
      `there are ${products} products, inputs times taps times channels; this page computes at most ${MOST_PRODUCTS}. ` +
        "Use a smaller input, or fewer channels",
    );
  }
  const x = numbersOf(settings.values.x, [channels.input, ...input], "x", geometry);
  const weight = numbersOf(settings.values.weight, shape, "weight", geometry);
  return makeScene(geometry, channels, input, x, weight, wordFor(dialect, settings, "crop"));
}

function notesOf(scene: Scene, field: string): Mistake[] {
  const { axes } = scene.geometry;
  return overlapOf(scene.geometry).flatMap((counts, a) => {
    const empty = counts.filter((count) => !count).length;
    const { kernel, stride, dilation } = axes[a]!;
    if (!empty) return [];
    return {
      field,
      text:
        `${empty} of ${stride} phases have no tap on spatial axis ${a}, with kernel ${kernel}, stride ${stride} and ` +
        `dilation ${dilation}: their outputs hold the bias alone. Write ${filling(axes[a]!)}`,
    };
  });
}

/** Axis that has a tap in every phase: as many taps as phases, and multiples of the dilation that reach all of them. */
function filling({ kernel, stride, dilation }: Axis): string {
  const reached = new Set(Array.from({ length: stride }, (_, tap) => (dilation * tap) % stride));
  return [
    ...(reached.size < stride ? ["a dilation without a factor in common with the stride"] : []),
    ...(kernel < stride ? [`a kernel of at least ${stride}`] : []),
  ].join(", and ");
}
