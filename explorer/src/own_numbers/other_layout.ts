/** A weight whose shape looks like the layout of another framework: small equal sizes where that one has the taps. */

import { MOST_TAPS } from "../arithmetic/scene_of_settings";
import { product } from "../arithmetic/indices";
import { dialects, titleOf } from "../dialects/registry";

/** Dialects with the taps last, first and in the middle. */
const USUAL = ["torch", "keras", "mlx"];

/** Return a sentence on the layout that the shape of a 2-D weight looks like; empty where the one it is read in fits. */
export function otherLayout(shape: readonly number[], pattern: string, groups: number): string {
  if (shape.length !== 4 || pattern.length !== 3) return "";
  const tapsIn = (other: string): readonly number[] => shape.slice(other.indexOf("*"), other.indexOf("*") + 2);
  const looksRight = ([rows, columns]: readonly number[]): boolean => rows === columns && rows! <= MOST_TAPS[2];
  const read = tapsIn(pattern);
  if (looksRight(read)) return "";
  const like = USUAL.map((name) => dialects[name]!).find((dialect) => {
    const taps = tapsIn(dialect.weight(groups, 2).pattern);
    return looksRight(taps) && product(taps) < product(read);
  });
  return like ? ` Its shape looks like a weight of ${titleOf(like)}: if it is one, choose ${titleOf(like)} first.` : "";
}
