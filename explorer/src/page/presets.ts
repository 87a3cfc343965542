/** Links to settings that are worth seeing. */

import { make } from "./elements";

const PRESETS: readonly (readonly [string, string])[] = [
  ["textbook 2 × 2", "#dialect=torch&kernel=2&input=2"],
  ["stride 2", "#dialect=torch&kernel=2&stride=2&input=2"],
  ["padding is a crop", "#dialect=torch&kernel=3&stride=2&padding=1&input=3"],
  ["SAME is lopsided", "#dialect=tensorflow&kernel=3&strides=2&input=4"],
  ["checkerboard", "#dialect=torch&kernel=3&stride=2&input=6&x=ones&weight=ones"],
  ["dilated", "#dialect=torch&kernel=3&dilation=2&input=3"],
  ["1-D vocoder", "#dialect=torch&rank=1&kernel=8&stride=4&padding=2&input=6"],
  ["groups", "#dialect=torch&kernel=2&stride=2&groups=2&input=3&channels=2:2"],
];

export function presetLinks(): HTMLElement {
  return make(
    "nav",
    { class: "presets", "aria-label": "Examples" },
    make("span", {}, "Examples: "),
    make("ul", {}, ...PRESETS.map(([title, address]) => make("li", {}, make("a", { href: address }, title)))),
  );
}
