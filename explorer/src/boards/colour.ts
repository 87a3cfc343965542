/** Colours of cells: a hue per input element, greys for sums, and ink that can be read on them. */

import { colours } from "../page/theme";

type Rgb = readonly [number, number, number];

const RAMP = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"].map(rgb);

function rgb(hex: string): Rgb {
  return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as unknown as Rgb;
}

/** Return the colour a part of the way from one to another. */
export function mix(from: string, to: string, part: number): string {
  return mixed(rgb(from), rgb(to), part);
}

function mixed(from: Rgb, to: Rgb, part: number): string {
  return `#${from.map((value, at) => hexByte(value + (to[at]! - value) * part)).join("")}`;
}

function hexByte(value: number): string {
  return Math.round(value).toString(16).padStart(2, "0");
}

/**
 * Return a colour per element of a grid, in C order.
 *
 * Up to 8 elements have a hue each. Of more, each row has a hue and each column a tint, as in the pictures.
 */
export function shades(rows: number, columns: number): string[] {
  const { cells, lines, page } = colours();
  if (rows * columns <= cells.length) return cells.slice(0, rows * columns);
  const [hues, tints] = rows === 1 ? [columns, 1] : [rows, columns];
  const ground = rgb(page);
  return Array.from({ length: rows * columns }, (_, at) => {
    const row = Math.floor(at / tints);
    const part = tints === 1 ? 0.55 : 0.72 - (0.44 * (at % tints)) / (tints - 1);
    return mixed(ground, hues <= lines.length ? rgb(lines[row]!) : ramp(row / (hues - 1)), part);
  });
}

function ramp(part: number): Rgb {
  const place = (0.05 + 0.9 * part) * (RAMP.length - 1);
  const at = Math.min(Math.floor(place), RAMP.length - 2);
  return rgb(mixed(RAMP[at]!, RAMP[at + 1]!, place - at));
}

/** Return the grey of a sum of `count` products, deeper for more of them. */
export function grey(count: number, most: number): string {
  const { page, ink } = colours();
  return mix(page, ink, (0.32 * count) / Math.max(1, most));
}

const inks = new Map<string, string>();

/** Return black or white, the one that reads better on this colour. */
export function inkOn(fill: string): string {
  let ink = inks.get(fill);
  if (!ink) {
    const light = luminance(rgb(fill));
    // contrast with #1f2328 and with white, by the formula of WCAG
    ink = (light + 0.05) / (0.0168 + 0.05) >= 1.05 / (light + 0.05) ? "#1f2328" : "#ffffff";
    inks.set(fill, ink);
  }
  return ink;
}

function luminance(colour: Rgb): number {
  const [r, g, b] = colour.map((byte) => {
    const part = byte / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as unknown as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
