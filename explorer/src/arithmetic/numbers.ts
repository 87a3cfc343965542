/** Numbers of x and the weight: rules of small numbers, and the user's own. */

import type { Values } from "../state/settings";
import type { Geometry, Index } from "./geometry";
import { choices, product } from "./indices";
import { refuse } from "./refusal";

/** Numbers of an array of this shape. Refuses own numbers of another shape, at the field `name`. */
export function numbersOf(values: Values, shape: Index, name: "x" | "weight", geometry: Geometry): Float64Array {
  if ("numbers" in values) return ownNumbers(values.shape, values.numbers, shape, name, geometry.axes.length);
  const count = product(shape);
  if (values.rule === "ones") return new Float64Array(count).fill(1);
  if (values.rule === "random") return random(count, (values.seed ?? 0) * 2 + (name === "x" ? 0 : 1));
  if (values.rule === "bilinear" && name === "weight") return bilinear(shape, geometry);
  return Float64Array.from({ length: count }, (_, at) => (at % 9) + 1);
}

function ownNumbers(given: Index, numbers: readonly number[], shape: Index, name: string, rank: number): Float64Array {
  // channels may be left out where there is one of each
  const bare = product(shape.slice(0, -rank)) === 1 && given.length === rank ? shape.slice(-rank) : shape;
  if (String(given) !== String(bare) || numbers.length !== product(shape)) {
    const needed = `[${shape.join(", ")}]`;
    const kind = name === "x" ? "[channels, *input]" : "[input channels, output channels / groups, *kernel]";
    refuse(
      name,
      `${name} has shape [${given.join(", ")}] and ${numbers.length} numbers; ${needed} is needed, ${kind}. ` +
        "Change the sizes to those of the array, or give an array of this shape",
    );
  }
  const wrong = numbers.findIndex((number) => !Number.isFinite(number));
  if (wrong >= 0)
    refuse(name, `${name} contains ${numbers[wrong]} at place ${wrong}; finite numbers are needed. Write 0 there`);
  return Float64Array.from(numbers);
}

/** Whole numbers from -4 to 4, the same for the same seed (Tommy Ettinger's mulberry32). */
function random(count: number, seed: number): Float64Array {
  let state = seed;
  return Float64Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (((mixed ^ (mixed >>> 14)) >>> 0) % 9) - 4;
  });
}

/** Weight of linear interpolation, as `tconv.initializers.bilinear` has it. Refuses a kernel that is too short. */
function bilinear(shape: Index, { axes, groups }: Geometry): Float64Array {
  const rows = axes.map(({ kernel: k, stride: s }, a) => {
    if (k < 2 * s - 1) {
      refuse(
        "weight",
        `the kernel is ${k} on spatial axis ${a}; linear interpolation with stride ${s} needs ${2 * s - 1} taps or ` +
          `more. Write a kernel of ${2 * s - (s % 2)}, with padding ${Math.ceil((s - 1) / 2)}`,
      );
    }
    return Array.from({ length: k }, (_, t) => Math.max(0, 1 - Math.abs(t - (k - 1) / 2) / s));
  });
  const taps = choices(rows).map(product);
  const inner = shape[0]! / groups;
  const outer = shape[1]!;
  const fewest = Math.min(inner, outer);
  const weight = new Float64Array(product(shape));
  for (let pair = 0; pair < shape[0]! * outer; pair++) {
    const i = Math.floor(pair / outer) % inner;
    const o = pair % outer;
    if (i % fewest !== o % fewest || (i >= fewest && o >= fewest)) continue;
    // several input channels of one output channel are averaged
    const share = Math.ceil((inner - (o % fewest)) / fewest);
    taps.forEach((tap, t) => (weight[pair * taps.length + t] = tap / share));
  }
  return weight;
}
