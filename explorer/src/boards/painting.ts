/** Sums of one output channel while the input elements paint, one after the other. */

import type { Index } from "../arithmetic/geometry";
import { choices, flat, indexOf, product } from "../arithmetic/indices";
import type { Scene } from "../arithmetic/scene";
import { gridOf, spotOf, type Spot } from "./face";

const FEW = 3000; // cells that are drawn one by one sooner than all of them

export class Painting {
  /** Rows and columns of the full result, and of rows beyond it where the crop is negative. */
  readonly rows: number;
  readonly columns: number;
  /** Spot of the output's first element. */
  readonly first: Spot;
  readonly sums: Float64Array;
  /** Input places that reach a cell, and the last of them; of a cell that none reaches, 0 and -1. */
  readonly counts: Uint16Array;
  readonly painter: Int32Array;
  time = 0;
  private readonly shape: Index;
  private readonly origin: Index;
  /** Steps on the board from tap 0 to every tap. */
  private readonly reaches: readonly number[];
  private readonly group: { readonly first: number; readonly size: number; readonly outputs: number };

  constructor(
    private readonly scene: Scene,
    private readonly channel: number,
  ) {
    const { geometry, channels, fullShape } = scene;
    const { axes, groups } = geometry;
    this.origin = axes.map((axis) => Math.min(axis.crop[0], 0));
    this.shape = axes.map((axis, a) => fullShape[a]! - this.origin[a]! - Math.min(axis.crop[1], 0));
    [this.rows, this.columns] = gridOf(this.shape);
    this.first = spotOf(axes.map((axis, a) => axis.crop[0] - this.origin[a]!));
    this.sums = new Float64Array(this.rows * this.columns);
    this.counts = new Uint16Array(this.sums.length);
    this.painter = new Int32Array(this.sums.length).fill(-1);
    const taps = choices(axes.map((axis) => Array.from({ length: axis.kernel }, (_, tap) => tap * axis.dilation)));
    this.reaches = taps.map((reach) => flat(reach, this.shape));
    const [size, outputs] = [channels.input / groups, channels.output / groups];
    this.group = { first: Math.floor(channel / outputs) * size, size, outputs };
  }

  /** Paint up to this many elements. Return the cells that changed; null for too many, or all of them. */
  advance(time: number): Spot[] | null {
    const until = Math.min(time, this.scene.x.length);
    const anew = until < this.time;
    if (anew) {
      this.sums.fill(0);
      this.counts.fill(0);
      this.painter.fill(-1);
      this.time = 0;
    }
    const few = !anew && (until - this.time) * this.reaches.length <= FEW;
    const changed: number[] = [];
    for (; this.time < until; this.time++) this.paint(this.time, few ? changed : null);
    return few ? changed.map((at) => [Math.floor(at / this.columns), at % this.columns]) : null;
  }

  private paint(element: number, changed: number[] | null): void {
    const { scene, group, reaches } = this;
    const places = product(scene.inputShape);
    const place = element % places;
    const channel = Math.floor(element / places);
    if (channel < group.first || channel >= group.first + group.size) return;
    const index = indexOf(place, scene.inputShape);
    const { axes } = scene.geometry;
    const start = flat(
      axes.map((axis, a) => axis.stride * index[a]! - this.origin[a]!),
      this.shape,
    );
    const row = (channel * group.outputs + (this.channel % group.outputs)) * reaches.length;
    const x = scene.x[element]!;
    for (let tap = 0; tap < reaches.length; tap++) {
      const at = start + reaches[tap]!;
      this.sums[at]! += x * scene.weight[row + tap]!;
      // elements of other channels lie at the same places: overlap is counted once
      if (channel === group.first) this.counts[at]! += 1;
      this.painter[at] = place;
      changed?.push(at);
    }
  }

  /** Return the spot of a place in the full result. */
  spotOfFull(full: Index): Spot {
    return spotOf(full.map((place, a) => place - this.origin[a]!));
  }

  /** Return the spot of an output index. */
  spotOfOutput(index: Index): Spot {
    const [row, column] = spotOf(index);
    return [row + this.first[0], column + this.first[1]];
  }
}
