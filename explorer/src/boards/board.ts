/** Board of cells on two canvases: the numbers, and above them the marks that follow the pointer. */

import { make } from "../page/elements";
import { colours } from "../page/theme";
import { paintCell, paintFace, paintFrame, paintMarks } from "./cell_painter";
import { CAPTION } from "./fitting";
import { NO_MARKS, type Face, type Marks, type Spot } from "./face";

export interface BoardOptions {
  /** Name in the page: data-board. */
  readonly name: string;
  /** Word above the board. */
  readonly title: string;
  /** Called with the cell under the pointer or the keyboard's cursor, null when it leaves; not interactive without it. */
  readonly onPoint?: (spot: Spot | null) => void;
  /** Called for a click, a tap or Enter; with null for Escape. */
  readonly onPin?: (spot: Spot | null) => void;
  /** Sentence of a cell for screen readers, said when the keyboard's cursor moves. */
  readonly onSay?: (spot: Spot) => void;
}

export class Board {
  readonly element: HTMLElement;
  face: Face | null = null;
  private cell = 0;
  private cursor: Spot | null = null;
  /** True while the keyboard moves the cursor, which is drawn then. */
  private keyed = false;
  private marks: Marks = NO_MARKS;
  private visible = false;
  private stale = true;
  private ratio = 1;
  private readonly ground = make("canvas", { "aria-hidden": true });
  private readonly above = make("canvas", { "aria-hidden": true });
  private readonly surface: HTMLElement;
  private readonly sizes = make("span", { class: "sizes" });
  private readonly caption = make("figcaption");

  constructor(private readonly options: BoardOptions) {
    const interactive = Boolean(options.onPoint);
    this.surface = make(
      "div",
      {
        class: "board",
        "data-board": options.name,
        role: interactive ? "application" : "img",
        "aria-label": options.title,
        ...(interactive && { tabindex: 0, "aria-roledescription": "board of cells", "aria-describedby": "board-keys" }),
      },
      this.ground,
      this.above,
    );
    this.caption.append(make("b", {}, options.title), " ", this.sizes);
    this.element = make("figure", { class: `board-figure board-${options.name}` }, this.caption, this.surface);
    if (interactive) this.listen();
    // boards out of sight are drawn when they come near: a change of a setting draws few
    new IntersectionObserver((entries) => this.seen(entries.at(-1)!.isIntersecting), { rootMargin: "300px" }).observe(
      this.surface,
    );
    addEventListener("beforeprint", () => {
      this.seen(true);
      // a new canvas: printers show a cleared one as white paper above the cells
      this.above.width = 0;
      this.light(this.marks);
    });
    // zooming changes the pixels of a cell
    addEventListener("resize", () => {
      if (this.ratio === devicePixelRatio) return;
      this.repaint();
      this.light(this.marks);
    });
  }

  /** Show a face with cells of this many pixels. */
  show(face: Face, cell: number, caption: string): void {
    this.face = face;
    this.cell = cell;
    this.sizes.textContent = caption;
    this.surface.setAttribute("aria-label", `${this.options.title}, ${caption}`);
    const [width, height] = this.size();
    this.surface.style.width = `${width}px`;
    this.surface.style.height = `${height}px`;
    this.caption.style.maxWidth = `${Math.max(width, CAPTION)}px`;
    this.cursor = this.cursor && this.within(this.cursor);
    this.repaint();
    this.light(this.marks);
  }

  /** Draw some cells again, as the face has them now. */
  refresh(spots: readonly Spot[]): void {
    if (!this.face || this.stale) return;
    const context = this.ground.getContext("2d")!;
    for (const [row, column] of spots) paintCell(context, this.face, this.cell, row, column);
    for (const frame of this.face.frames ?? []) paintFrame(context, frame, this.cell);
  }

  /** Draw all cells again. */
  repaint(): void {
    this.stale = !this.visible;
    if (!this.face || this.stale) return;
    this.ratio = devicePixelRatio;
    paintFace(sized(this.ground, ...this.size()), this.face, this.cell);
  }

  /** Light marks above the cells. */
  light(marks: Marks): void {
    this.marks = marks;
    if (!this.face || !this.visible) return;
    const context = sized(this.above, ...this.size());
    paintMarks(context, marks, this.cell, this.face.longest);
    if (!this.keyed || !this.cursor) return;
    const [row, column] = this.cursor;
    paintFrame(context, { row, column, rows: 1, columns: 1, colour: colours().ink, width: 2 }, this.cell);
  }

  private seen(visible: boolean): void {
    const before = this.visible;
    this.visible = visible;
    if (!visible || before) return;
    if (this.stale) this.repaint();
    this.light(this.marks);
  }

  /** Width and height in pixels. */
  private size(): [number, number] {
    const { columns, rows } = this.face!;
    return [Math.ceil(columns * this.cell), Math.ceil(rows * this.cell)];
  }

  private within(spot: Spot): Spot | null {
    const { face } = this;
    if (!face) return null;
    const inside = face.inside ?? { row: 0, column: 0, rows: face.rows, columns: face.columns };
    const clamp = (place: number, first: number, count: number) => Math.max(first, Math.min(first + count - 1, place));
    return [clamp(spot[0], inside.row, inside.rows), clamp(spot[1], inside.column, inside.columns)];
  }

  private spotAt(event: MouseEvent): Spot | null {
    const box = this.surface.getBoundingClientRect();
    const spot: Spot = [
      Math.floor((event.clientY - box.top) / this.cell),
      Math.floor((event.clientX - box.left) / this.cell),
    ];
    const nearest = this.within(spot);
    return nearest && nearest[0] === spot[0] && nearest[1] === spot[1] ? spot : null;
  }

  private listen(): void {
    const { surface, options } = this;
    surface.addEventListener("pointermove", (event) => {
      this.keyed = false;
      if (event.pointerType !== "touch") options.onPoint?.(this.spotAt(event));
    });
    surface.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") options.onPoint?.(null);
    });
    surface.addEventListener("click", (event) => {
      const spot = this.spotAt(event);
      if (!spot) return;
      this.cursor = spot;
      options.onPin?.(spot);
    });
    surface.addEventListener("focus", () => {
      if (!surface.matches(":focus-visible")) return;
      this.move(this.cursor ?? [-1e9, -1e9]);
    });
    surface.addEventListener("blur", () => {
      this.keyed = false;
      this.light(this.marks);
      options.onPoint?.(null);
    });
    surface.addEventListener("keydown", (event) => this.key(event));
  }

  private move(to: Spot): void {
    this.cursor = this.within(to);
    if (!this.cursor) return;
    this.keyed = true;
    this.light(this.marks);
    this.options.onPoint?.(this.cursor);
    this.options.onSay?.(this.cursor);
  }

  private key(event: KeyboardEvent): void {
    if (event.altKey || event.metaKey) return;
    const [row, column] = this.cursor ?? this.within([-1e9, -1e9]) ?? [0, 0];
    const far = event.ctrlKey ? 1e9 : 0;
    const steps: Record<string, Spot> = {
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      Home: [row - far, -1e9],
      End: [row + far, 1e9],
      PageUp: [-1e9, column],
      PageDown: [1e9, column],
    };
    const to = steps[event.key];
    if (to) this.move(to);
    else if (event.key === "Enter" || event.key === " ") this.options.onPin?.([row, column]);
    else if (event.key === "Escape") {
      this.options.onPin?.(null);
      this.options.onPoint?.(null);
    } else return;
    event.preventDefault();
  }
}

/** Return the cleared context of a canvas of this size in CSS pixels, sharp on screens with more pixels. */
function sized(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const ratio = devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  const context = canvas.getContext("2d")!;
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  } else {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, w, h);
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}
