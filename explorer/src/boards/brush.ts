/** The element that has painted last, and the place of its kernel: it glides from one place to the next. */

import { indexOf, product } from "../arithmetic/indices";
import type { Scene } from "../arithmetic/scene";
import { colours } from "../page/theme";
import { type Frame, spotOf } from "./face";
import type { Painting } from "./painting";

const GLIDE = 180; // milliseconds
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Brush {
  private from: Frame | null = null;
  private to: Frame | null = null;
  private input: Frame | null = null;
  private began = 0;
  private running = false;

  constructor(private readonly drawn: () => void) {}

  /** Put the brush at the element that has painted last; none before the first and after the last one. */
  put(scene: Scene, painting: Painting, channel: number, time: number): void {
    const now = performance.now();
    const before = this.to;
    const quick = now - this.began < GLIDE;
    this.to = this.input = null;
    this.from = null;
    if (time === 0 || time >= scene.x.length) return;
    const places = product(scene.inputShape);
    const index = indexOf((time - 1) % places, scene.inputShape);
    const painted = scene
      .painted(Math.floor((time - 1) / places), index)
      .filter((one) => one.outputChannel === channel);
    const [first, last] = [painted[0], painted.at(-1)];
    const [top, left] = spotOf(index);
    const colour = colours().chosen;
    this.input = { row: top, column: left, rows: 1, columns: 1, colour, width: 3 };
    if (!first || !last) return;
    const [row, column] = painting.spotOfFull(first.full);
    const [bottom, right] = painting.spotOfFull(last.full);
    this.to = { row, column, rows: bottom - row + 1, columns: right - column + 1, colour, width: 3 };
    this.began = now;
    // fast steps and readers who asked for calm: the brush jumps
    if (!before || quick || calm.matches) return;
    this.from = before;
    if (!this.running) requestAnimationFrame(() => this.step());
    this.running = true;
  }

  /** Frame of the kernel on the output. */
  frames(): Frame[] {
    if (!this.to) return [];
    const part = Math.min(1, (performance.now() - this.began) / GLIDE);
    if (!this.from || part >= 1) return [this.to];
    const eased = 1 - (1 - part) ** 3;
    const between = (from: number, to: number) => from + (to - from) * eased;
    return [
      { ...this.to, row: between(this.from.row, this.to.row), column: between(this.from.column, this.to.column) },
    ];
  }

  /** Frame of the element on the input. */
  element(): Frame[] {
    return this.input ? [this.input] : [];
  }

  private step(): void {
    this.running = Boolean(this.from) && performance.now() - this.began < GLIDE;
    if (this.running) requestAnimationFrame(() => this.step());
    else this.from = null;
    this.drawn();
  }
}
