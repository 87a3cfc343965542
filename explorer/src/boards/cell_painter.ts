/** Drawing of cells, frames and marks on a canvas, in units of cells. */

import { colours } from "../page/theme";
import { inkOn } from "./colour";
import type { Face, Frame, Look, Mark, Marks } from "./face";

const FONT = "ui-sans-serif, system-ui, sans-serif";
const SMALLEST = 8.5;
const LINES_FROM = 5; // pixels of a cell below which the lines between cells would hide them

/** Return the size of the numbers in cells of this size; 0 where they cannot be read. */
export function fontSize(cell: number, longest: number): number {
  const size = Math.min(cell * 0.44, (cell - 3) / (0.6 * Math.max(1, longest)), 18);
  return size >= SMALLEST ? size : 0;
}

export function paintFace(context: CanvasRenderingContext2D, face: Face, cell: number): void {
  const { page, line, faint } = colours();
  const width = face.columns * cell;
  const height = face.rows * cell;
  context.fillStyle = page;
  context.fillRect(0, 0, width, height);
  if (face.filled) for (const [row, column] of face.filled) paintCell(context, face, cell, row, column);
  else
    for (let row = 0; row < face.rows; row++)
      for (let column = 0; column < face.columns; column++) paintCell(context, face, cell, row, column);
  if (face.filled && cell >= LINES_FROM) {
    context.strokeStyle = line;
    context.lineWidth = 0.5;
    context.beginPath();
    for (let row = 1; row < face.rows; row++) context.rect(0, row * cell, width, 0);
    for (let column = 1; column < face.columns; column++) context.rect(column * cell, 0, 0, height);
    context.stroke();
  }
  context.strokeStyle = faint;
  context.lineWidth = 1;
  context.strokeRect(0.5, 0.5, width - 1, height - 1);
  for (const frame of face.frames ?? []) paintFrame(context, frame, cell);
}

export function paintCell(
  context: CanvasRenderingContext2D,
  face: Face,
  cell: number,
  row: number,
  column: number,
): void {
  const look = face.look(row, column);
  if (look) paintLook(context, look, cell, row, column, fontSize(cell, face.longest));
}

function paintLook(
  context: CanvasRenderingContext2D,
  look: Look,
  cell: number,
  row: number,
  column: number,
  size: number,
): void {
  const { line, muted, edge } = colours();
  const [left, top] = [column * cell, row * cell];
  const side = Math.max(cell, 1);
  context.fillStyle = look.fill;
  context.fillRect(left, top, side, side);
  if (look.hatched) hatch(context, left, top, cell, edge);
  if (cell >= LINES_FROM) {
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.strokeRect(left + 0.5, top + 0.5, cell - 1, cell - 1);
  }
  if (look.text && size) {
    context.font = `${size}px ${FONT}`;
    if (look.hatched) {
      const half = context.measureText(look.text).width / 2 + 2;
      context.fillStyle = look.fill;
      context.fillRect(left + cell / 2 - half, top + cell / 2 - size * 0.6, 2 * half, size * 1.2);
    }
    context.fillStyle = look.faint ? muted : inkOn(look.fill);
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(look.text, left + cell / 2, top + cell / 2 + size * 0.06);
  }
}

function hatch(context: CanvasRenderingContext2D, left: number, top: number, cell: number, colour: string): void {
  const gap = Math.max(4, Math.min(7, cell / 4));
  context.save();
  context.beginPath();
  context.rect(left, top, cell, cell);
  context.clip();
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  // lines of all cells meet: they are placed by the board, not by the cell
  for (let at = Math.floor((left + top) / gap) * gap; at < left + top + 2 * cell; at += gap) {
    context.moveTo(at - top, top);
    context.lineTo(at - top - cell, top + cell);
  }
  context.stroke();
  context.restore();
}

export function paintFrame(context: CanvasRenderingContext2D, frame: Frame, cell: number): void {
  const width = frame.width ?? 2;
  context.strokeStyle = frame.colour;
  context.lineWidth = width;
  context.setLineDash(frame.dashed ? [5, 4] : []);
  const inset = width / 2;
  context.strokeRect(
    frame.column * cell + inset,
    frame.row * cell + inset,
    Math.max(1, frame.columns * cell - width),
    Math.max(1, frame.rows * cell - width),
  );
  context.setLineDash([]);
}

export function paintMarks(context: CanvasRenderingContext2D, marks: Marks, cell: number, longest: number): void {
  for (const mark of marks.cells) paintMark(context, mark, cell, longest);
  for (const frame of marks.frames) paintFrame(context, frame, cell);
}

function paintMark(context: CanvasRenderingContext2D, mark: Mark, cell: number, longest: number): void {
  const border = mark.colour ? Math.max(1.5, Math.min(4, cell / 9)) : 0;
  const size = fontSize(cell - 1.5 * border, Math.max(longest, mark.look?.text?.length ?? 0));
  // a text that does not fit leaves the number that stands there
  if (mark.look && (size || !fontSize(cell, longest))) paintLook(context, mark.look, cell, mark.row, mark.column, size);
  if (!mark.colour) return;
  paintFrame(
    context,
    {
      row: mark.row,
      column: mark.column,
      rows: 1,
      columns: 1,
      colour: mark.colour,
      width: border,
      dashed: mark.dashed ?? false,
    },
    cell,
  );
  if (mark.badge && cell >= 26 && !(mark.look?.text && size)) paintBadge(context, mark, mark.colour, cell);
}

function paintBadge(context: CanvasRenderingContext2D, mark: Mark, colour: string, cell: number): void {
  const size = Math.max(9, cell * 0.24);
  const [left, top] = [mark.column * cell, mark.row * cell];
  context.fillStyle = colour;
  context.fillRect(left, top, size * 1.15, size * 1.15);
  context.fillStyle = inkOn(colour);
  context.font = `600 ${size}px ${FONT}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(mark.badge ?? "", left + size * 0.58, top + size * 0.63);
}
