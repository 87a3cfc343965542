/**
 * One transposed convolution with its numbers: all that boards and panels show.
 *
 * Arrays are flat, in C order: x [C_in, *input], weight [C_in, C_out/groups, *kernel], full and output [C_out, *size].
 */

import type { Geometry, Index } from "./geometry";

/** A product that reaches a place. */
export interface Product {
  /** Channel and place of the input element. */
  readonly inputChannel: number;
  readonly input: Index;
  readonly tap: Index;
  /** Channel and place in the full result; `output` is null where the crop removes it. */
  readonly outputChannel: number;
  readonly full: Index;
  readonly output: Index | null;
  readonly x: number;
  readonly w: number;
  readonly product: number;
}

export interface Scene {
  readonly geometry: Geometry;
  readonly channels: { readonly input: number; readonly output: number };
  readonly inputShape: Index;
  readonly fullShape: Index;
  readonly outputShape: Index;
  readonly x: Float64Array;
  readonly weight: Float64Array;
  readonly full: Float64Array;
  readonly output: Float64Array;
  /** Products that are summed in an output element, in the order of the scatter: the gather view of it. */
  gathered(channel: number, output: Index): Product[];
  /** Products that an input element paints into the output channels of its group. */
  painted(channel: number, input: Index): Product[];
}
