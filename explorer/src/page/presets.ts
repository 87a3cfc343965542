/** Links to settings that are worth seeing, each with what to see. Another one is a line here. */

import { addressOf, readAddress } from "../state/address";
import type { Settings } from "../state/settings";
import { make } from "./elements";

interface Preset {
  readonly title: string;
  readonly address: string;
  readonly lesson: string;
  /** Panel that the lesson needs open. */
  readonly panel?: string;
}

export const PRESETS: readonly Preset[] = [
  {
    title: "textbook 2 × 2",
    address: "#dialect=torch&kernel=2&input=2",
    lesson:
      "Four input elements each paint a 2 × 2 kernel, one cell apart. The corners are painted once; the centre is the sum of all four.",
  },
  {
    title: "stride 2",
    address: "#dialect=torch&kernel=2&stride=2&input=2",
    lesson:
      "The stride is the step in the output: each kernel lands 2 cells further, so nothing overlaps and the output is twice as large. Make the kernel 3, and neighbours overlap.",
  },
  {
    title: "padding is a crop",
    address: "#dialect=torch&kernel=3&stride=2&padding=1&input=3",
    lesson:
      "The full result is 7 × 7. padding=1 cuts one row and column off every side (hatched), and 5 × 5 remain: more padding, smaller output. Nothing is added around the input.",
  },
  {
    title: "output_padding",
    address: "#dialect=torch&kernel=3&stride=2&padding=1&output_padding=1&input=3",
    lesson:
      "padding=1 alone keeps 5 × 5 of the full 7 × 7. output_padding=1 cuts one row and column less off at the end, and 6 × 6 remain: cells that were painted come back, nothing is added.",
  },
  {
    title: "SAME is lopsided",
    address: "#dialect=tensorflow&kernel=3&strides=2&input=4",
    lesson:
      "SAME wants 2 × 4 = 8 rows of the full 9. One is too many, and it is cut at the end alone. PyTorch's padding=1, output_padding=1 also gives 8 rows, but cuts one in front: the same size, every value shifted by one cell.",
  },
  {
    title: "checkerboard",
    address: "#dialect=torch&kernel=3&stride=2&input=6&x=ones&weight=ones",
    lesson:
      "All numbers are 1, and yet the output is uneven: 1, 2 or 4 kernels overlap in a cell, because 2 does not divide 3. A kernel of 4, a multiple of the stride, is even inside the border. The panel “Overlap and checkerboard” counts it.",
    panel: "overlap",
  },
  {
    title: "dilated",
    address: "#dialect=torch&kernel=3&dilation=2&input=3",
    lesson:
      "dilation=2 spreads the taps 2 cells apart: a kernel of 3 spans 5 cells. Point at an INPUT cell to see the gaps.",
  },
  {
    title: "1-D vocoder",
    address: "#dialect=torch&rank=1&kernel=8&stride=4&padding=2&input=6",
    lesson:
      "One axis, as in audio: kernel = 2 × stride and padding = stride / 2 make the output exactly 4 times as long, 24 of 6, and every cell away from the border sums two inputs.",
  },
  {
    title: "groups",
    address: "#dialect=torch&kernel=2&stride=2&groups=2&input=3&channels=2:2",
    lesson:
      "Two groups of one channel: output channel 0 is painted by input channel 0 alone, and 1 by 1. Choose the channels above the boards; between channels of different groups the kernel is 0.",
  },
];

export function presetLinks(): HTMLElement {
  return make(
    "nav",
    { class: "presets", "aria-label": "Examples" },
    make("span", {}, "Examples: "),
    make("ul", {}, ...PRESETS.map(({ title, address }) => make("li", {}, make("a", { href: address }, title)))),
  );
}

/** Return what to see in these settings, if a link leads to them. */
export function lessonOf(settings: Settings): Preset | undefined {
  const address = addressOf(settings);
  return PRESETS.find((preset) => addressOf(readAddress(preset.address).settings) === address);
}
