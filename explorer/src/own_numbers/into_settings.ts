/** An array of someone as x or as the weight of the page: its axes, its channels, and the part that fits the boards. */

import { MOST_INPUTS, MOST_TAPS } from "../arithmetic/scene_of_settings";
import { indexOf, product } from "../arithmetic/indices";
import type { WeightLayout } from "../dialects/dialect";
import { weightPlaces } from "../dialects/layouts";
import { dialects } from "../dialects/registry";
import { MOST_NUMBERS } from "../state/address";
import { ruleOf } from "../state/defaults";
import type { Settings } from "../state/settings";
import { type NumberArray, UnreadableNumbers } from "./number_text";
import { otherLayout } from "./other_layout";

/** Most channels of own numbers that are shown: every further one is another kernel to look at. */
const MOST_CHANNELS = 4;

export interface Placed {
  readonly settings: Partial<Settings>;
  /** A sentence on how the axes were read. */
  readonly read: string;
}

/** Return the settings with this array as x: [rows, columns], with a channel axis before them, or one axis. */
export function asInput(array: NumberArray, settings: Settings): Placed {
  refuseOthers(array);
  const batched = array.shape.length === 4;
  if (batched && array.shape[0] !== 1)
    throw new UnreadableNumbers(`x has shape ${text(array.shape)}; one image at a time is shown. Save x[:1].`);
  const shape = batched ? array.shape.slice(1) : array.shape;
  if (shape.length > 3)
    throw new UnreadableNumbers(
      `x has shape ${text(array.shape)}; one or two spatial axes are shown, with a channel axis before them. Save one slice of it.`,
    );
  const rank =
    shape.length === 1
      ? 1
      : shape.length === 2 && settings.rank === 1 && settings.channels.input === shape[0] && shape[0]! > 1
        ? 1
        : 2;
  const spatial = shape.slice(-rank);
  refuseLarge("x", spatial, MOST_INPUTS[rank]);
  const all = shape.length > rank ? shape[0]! : 1;
  const channels = Math.min(all, MOST_CHANNELS, Math.max(1, Math.floor(MOST_NUMBERS / product(spatial))));
  const numbers = array.numbers.slice(0, channels * product(spatial));
  const fits = channels === settings.channels.input && rank === settings.rank;
  return {
    settings: {
      rank,
      input: spatial,
      channels: { input: channels, output: settings.channels.output },
      values: {
        x: { shape: channels === 1 ? spatial : [channels, ...spatial], numbers },
        weight: fits ? settings.values.weight : ruleOf(settings.values.weight),
      },
    },
    read: `Read as x of ${sizes(spatial)}${all > 1 ? `, the first ${channels} of ${all} channels` : ""}.`,
  };
}

/**
 * Return the settings with this array as the weight. Taps alone, or the whole weight of a layer in the layout of the
 * dialect; `first` is the input and the output channel to begin with, where there are more than the boards show.
 */
export function asWeight(
  array: NumberArray,
  settings: Settings,
  groups = groupsOf(settings),
  first = { input: 0, output: 0 },
): Placed {
  refuseOthers(array);
  const axes = array.shape.length;
  if (axes <= 2) {
    refuseLarge("the kernel", array.shape, MOST_TAPS[axes as 1 | 2]);
    return placed(
      settings,
      [1, 1, ...array.shape],
      array.numbers,
      product(array.shape) === 1
        ? "Read as the one tap of one channel."
        : `Read as the ${sizes(array.shape)} taps of one channel, in the order in which they are painted.`,
    );
  }
  const layout = dialects[settings.dialect]!.weight(groups, settings.rank);
  const letters = layout.pattern.replace("*", "");
  const rank = axes - letters.length;
  if (rank !== 1 && rank !== 2)
    throw new UnreadableNumbers(
      `The weight has shape ${text(array.shape)}; ${letters.length + 1} or ${letters.length + 2} axes are read, ${named(layout, 2)} in 2-D. Save one slice of it.`,
    );
  const hint = otherLayout(array.shape, layout.pattern, groups);
  const { shape, placeOf } = weightPlaces(layout, groups, array.shape);
  const [inputs, outer, ...kernel] = shape as [number, number, ...number[]];
  const inner = inputs / groups;
  if (![inner, outer].every(Number.isInteger) || product(shape) !== product(array.shape))
    throw new UnreadableNumbers(
      `The weight has shape ${text(array.shape)}, ${named(layout, rank)}, which ${groups} groups do not divide. Set the groups of the layer first.${hint}`,
    );
  refuseLarge("the kernel", kernel, MOST_TAPS[rank], hint);
  const fits = inputs <= MOST_CHANNELS && outer * groups <= MOST_CHANNELS;
  // of a larger weight, channels of one group
  const kept = fits ? groups : 1;
  const from = fits
    ? { input: 0, output: 0 }
    : { input: Math.min(first.input, inputs - 1), output: Math.min(first.output, outer - 1) };
  const group = Math.floor(from.input / inner);
  const counts = {
    input: fits ? inputs : Math.min(MOST_CHANNELS, (group + 1) * inner - from.input),
    output: fits ? outer : Math.min(MOST_CHANNELS, outer - from.output),
  };
  const part = [counts.input, counts.output, ...kernel];
  const numbers = Array.from({ length: product(part) }, (_, at) => {
    const [i, o, ...tap] = indexOf(at, part) as [number, number, ...number[]];
    return array.numbers[placeOf(from.input + i, from.output + o, tap)]!;
  });
  const shown = fits
    ? ""
    : ` Shown are input channels ${range(from.input, counts.input)} of ${inputs} and output channels ${range(group * outer + from.output, counts.output)} of ${outer * groups}${groups > 1 ? ", of one group" : ""}.`;
  return placed(
    settings,
    part,
    numbers,
    `Read as ${named(layout, rank)}${layout.flip ? ", taps stored in reverse" : ""}: ${inputs} input and ${outer * groups} output channels${groups > 1 ? ` in ${groups} groups` : ""}, kernel ${sizes(kernel)}.${shown}${hint}`,
    kept,
  );
}

/** Return the settings with a weight [C_in, C_out/groups, *kernel] of these groups. */
function placed(
  settings: Settings,
  shape: readonly number[],
  numbers: readonly number[],
  read: string,
  groups = 1,
): Placed {
  const [inputs, outer, ...kernel] = shape as [number, number, ...number[]];
  const channels = { input: inputs, output: outer * groups };
  const rank = kernel.length as 1 | 2;
  const keepsX = rank === settings.rank && channels.input === settings.channels.input;
  const input = rank === settings.rank ? settings.input : [settings.input[0] ?? 3];
  return {
    settings: {
      rank,
      kernel,
      input,
      channels,
      words: groups > 1 ? settings.words : withoutGroups(settings),
      values: {
        weight: {
          shape: channels.input * channels.output === 1 ? kernel : shape,
          numbers,
        },
        x: keepsX ? settings.values.x : ruleOf(settings.values.x),
      },
    },
    read,
  };
}

const groupsName = ({ dialect, rank }: Settings): string | undefined =>
  dialects[dialect]!.words(rank).find((word) => word.part === "groups")?.name;

/** Number of groups in the settings; 1 where it is no such number. */
export function groupsOf(settings: Settings): number {
  const groups = Number(settings.words[groupsName(settings) ?? ""] ?? 1);
  return Number.isInteger(groups) && groups > 0 ? groups : 1;
}

/** Arguments without the groups: the channels of the weight are those of one group. */
function withoutGroups(settings: Settings): Settings["words"] {
  const { [groupsName(settings) ?? ""]: _, ...others } = settings.words;
  return others;
}

function refuseOthers(array: NumberArray): void {
  if (array.shape.length === 0)
    throw new UnreadableNumbers(
      "That is one number, without an axis. A list or a matrix is needed, such as 1 2 on one line and 3 4 on the next.",
    );
  const bad = array.numbers.find((number) => !Number.isFinite(number));
  if (bad !== undefined)
    throw new UnreadableNumbers(
      `There is ${Number.isNaN(bad) ? "NaN" : "inf"} among the numbers; finite ones are needed.`,
    );
}

function refuseLarge(name: string, shape: readonly number[], most: number, hint = ""): void {
  if (Math.max(...shape) > most)
    throw new UnreadableNumbers(
      `${name} would be ${sizes(shape)}; at most ${most} per axis are shown. Save a part of it.${hint}`,
    );
}

function named({ pattern }: WeightLayout, rank: number): string {
  const words: Record<string, string> = { I: "C_in", O: "C_out", G: "groups", "*": rank === 1 ? "k" : "kh, kw" };
  return `[${[...pattern].map((letter) => words[letter] ?? letter).join(", ")}]`;
}

const sizes = (shape: readonly number[]): string => shape.join(" × ");
const text = (shape: readonly number[]): string => `(${shape.join(", ")})`;
const range = (from: number, length: number): string =>
  length === 1 ? String(from) : `${from} to ${from + length - 1}`;
