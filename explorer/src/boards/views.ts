/** All views of boards, in the order of the page. Another one is a file of this folder and an entry here. */

import { make } from "../page/elements";
import type { Store } from "../state/store";
import type { View } from "../state/view";
import { gatherPicture } from "./gather_picture";
import { matrixPicture, transposePicture } from "./matrix_picture";
import { paintPicture } from "./paint_picture";
import { numberTables } from "./number_tables";
import { pictureView } from "./picture";
import { shownChannels } from "./shown_channels";
import { timeControls } from "./time_controls";
import { zeroInsertionPicture } from "./zero_insertion_picture";

/** Make the views; `near` stands below the first one. */
export function boardViews(store: Store, near: View): View[] {
  const paint = titled(
    "paint",
    "Paint",
    "The scatter: every input element paints the kernel, scaled by its value. Where paint overlaps it is added: the grey cells, the stronger the more kernels meet. Hatched cells are cut off.",
    [shownChannels(store), pictureView(paintPicture(store)), timeControls(store), numberTables()],
  );
  const gather = titled(
    "gather",
    "Gather",
    "The same from the output's side: each output cell sums the inputs below the kernel's window, each times its tap. Taps that fall between inputs meet nothing, so cells of one colour use the same taps: a phase.",
    [pictureView(gatherPicture(store))],
  );
  const zeros = titled(
    "zeros",
    "Zero insertion",
    "The same as a convolution: zeros between the inputs, then the kernel slides over them by 1. It is flipped here alone: seen from an output cell the taps are read backwards, because an input to its left reaches it with a tap to the right. The operator itself turns nothing around.",
    [pictureView(zeroInsertionPicture(store))],
  );
  const matrix = titled(
    "matrix",
    "Matrix",
    "The same as a product. K is the matrix of an ordinary convolution; the transposed convolution multiplies by its transpose.",
    [
      pictureView(matrixPicture(store)),
      beside(pictureView(transposePicture(store)), [
        "A row of K is an input element: the taps stand where it paints.",
        "A row of K transposed is an output cell: the taps stand where it gathers. Row times INPUT is the sum.",
        "K transposed is not the inverse of K: it gives the size back, not the numbers.",
      ]),
    ],
  );
  return [paint, near, gather, zeros, matrix];
}

/** Put sentences beside a view. */
function beside(view: View, sentences: readonly string[]): View {
  const notes = make("ul", { class: "legend" }, ...sentences.map((sentence) => make("li", {}, sentence)));
  return { element: make("div", { class: "beside" }, view.element, notes), draw: view.draw };
}

function titled(name: string, title: string, sentence: string, views: readonly View[]): View {
  const element = make(
    "section",
    { class: `view view-${name}`, "aria-labelledby": `title-${name}` },
    make("h2", { id: `title-${name}` }, title),
    make("p", { class: "lead" }, sentence),
    ...views.map((view) => view.element),
  );
  return {
    element,
    draw(moment, changed) {
      for (const view of views) view.draw(moment, changed);
    },
  };
}
