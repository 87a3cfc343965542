/** Sums of one output channel while the input elements paint, one after the other. */

import type { Scene } from "../arithmetic/scene";
import { indexOf, product } from "../arithmetic/indices";
import { gridOf, spotOf, type Spot } from "./face";

export class Painting {
  /** Rows and columns of the full result, and of rows beyond it where the crop is negative. */
  readonly rows: number;
  readonly columns: number;
  /** Spot of the output's first element. */
  readonly first: Spot;
  readonly sums: Float64Array;
  /** Input elements that reach a cell, and the last of them; of a cell that none reaches, 0 and -1. */
  readonly counts: Uint16Array;
  readonly painter: Int32Array;
  time = 0;
  private readonly origin: readonly number[];

  constructor(
    private readonly scene: Scene,
    private readonly channel: number,
  ) {
    const { axes } = scene.geometry;
    this.origin = axes.map((axis) => Math.min(axis.crop[0], 0));
    const shape = axes.map((axis, a) => scene.fullShape[a]! - this.origin[a]! - Math.min(axis.crop[1], 0));
    [this.rows, this.columns] = gridOf(shape);
    this.first = spotOf(axes.map((axis, a) => axis.crop[0] - this.origin[a]!));
    this.sums = new Float64Array(this.rows * this.columns);
    this.counts = new Uint16Array(this.sums.length);
    this.painter = new Int32Array(this.sums.length).fill(-1);
  }

  /** Paint up to this many elements. Return the cells that changed, or null where it began anew. */
  advance(time: number): Spot[] | null {
    const until = Math.min(time, this.scene.x.length);
    const anew = until < this.time;
    if (anew) {
      this.sums.fill(0);
      this.counts.fill(0);
      this.painter.fill(-1);
      this.time = 0;
    }
    const changed: Spot[] = [];
    const places = product(this.scene.inputShape);
    for (; this.time < until; this.time++) {
      const place = this.time % places;
      const channel = Math.floor(this.time / places);
      for (const one of this.scene.painted(channel, indexOf(place, this.scene.inputShape))) {
        if (one.outputChannel !== this.channel) continue;
        const [row, column] = this.spotOfFull(one.full);
        const at = row * this.columns + column;
        this.sums[at]! += one.product;
        // elements of other channels lie at the same places: overlap is counted once
        if (channel === this.firstChannel()) this.counts[at]! += 1;
        this.painter[at] = place;
        changed.push([row, column]);
      }
    }
    return anew ? null : changed;
  }

  /** Return the spot of a place in the full result. */
  spotOfFull(full: readonly number[]): Spot {
    return spotOf(full.map((place, a) => place - this.origin[a]!));
  }

  /** Return the spot of an output index. */
  spotOfOutput(index: readonly number[]): Spot {
    const [row, column] = spotOf(index);
    return [row + this.first[0], column + this.first[1]];
  }

  private firstChannel(): number {
    const { geometry, channels } = this.scene;
    return Math.floor(this.channel / (channels.output / geometry.groups)) * (channels.input / geometry.groups);
  }
}
