/** A view of several boards: their faces when the scene changes, their marks when the selection does. */

import type { Scene } from "../arithmetic/scene";
import { sameCell, type Selection } from "../state/selection";
import type { View } from "../state/view";
import type { Board } from "./board";
import type { Face, Marks } from "./face";
import { fit, type Room } from "./fitting";
import { type Lit, litBy } from "./lit";
import { stage } from "./stage";

export interface Shown {
  readonly face: Face;
  /** Words beside the board's title: its sizes. */
  readonly caption: string;
}

export interface Picture {
  /** Boards, and signs between them. */
  readonly parts: readonly (Board | string)[];
  readonly limits?: Partial<Room>;
  /** One for each board. */
  faces(scene: Scene, selection: Selection): readonly Shown[];
  marks(scene: Scene, selection: Selection, lit: Lit): readonly Marks[];
  /** Draw what another time changes. */
  advance?(selection: Selection, before: Selection): void;
}

export function pictureView(picture: Picture): View {
  const boards = picture.parts.filter((part): part is Board => typeof part !== "string");
  let scene: Scene | null = null;
  let selection: Selection | null = null;
  const place = stage(picture.parts, show, picture.limits);

  function show(): void {
    if (!scene || !selection) return;
    const shown = picture.faces(scene, selection);
    const { cells, layout } = fit(
      shown.map((one) => one.face),
      place.room(),
    );
    place.element.className = `stage ${layout}`;
    boards.forEach((board, at) => board.show(shown[at]!.face, cells[at]!, shown[at]!.caption));
    light();
  }

  function light(): void {
    if (!scene || !selection) return;
    const marks = picture.marks(scene, selection, litBy(scene, selection));
    boards.forEach((board, at) => board.light(marks[at]!));
  }

  return {
    element: place.element,
    draw(moment, changed) {
      if (!moment.scene) return;
      const before = selection;
      const anew =
        changed.scene ||
        scene !== moment.scene ||
        !before ||
        before.hidden !== moment.selection.hidden ||
        before.shown !== moment.selection.shown;
      scene = moment.scene;
      selection = moment.selection;
      if (anew) return show();
      const later = before.time !== selection.time;
      if (later) picture.advance?.(selection, before);
      const moved = !sameCell(before.pointed, selection.pointed) || !sameCell(before.pinned, selection.pinned);
      if (moved || (later && picture.advance)) light();
    },
  };
}

/** Text of sizes: "3 × 4". */
export const timesText = (sizes: readonly (number | string)[]): string => sizes.join(" × ");

/** Text of the output's size; a question while the output is hidden, to be predicted. */
export const outputCaption = ({ outputShape }: Scene, { hidden }: Selection, note = ""): string =>
  hidden ? timesText(outputShape.map(() => "?")) : timesText(outputShape) + note;
