/** Conditions of known faults of XLA, as tconv.dialects.fault_conditions has them. */

import { inputPadding, type Geometry, type Index } from "../arithmetic/geometry";
import { product } from "../arithmetic/indices";

/** True where XLA's kernel for the CPU may read outside x: it pads less than nothing in front, and as little behind. */
export function xlaReadsOutside({ axes }: Geometry): boolean {
  const undilated = axes.length <= 2 && axes.every((axis) => axis.stride === 1 && axis.dilation === 1);
  return undilated && axes.map(inputPadding).some(([a, b]) => a < 0 && 0 < b && b <= -a);
}

/**
 * True where XLA ends the process: it exchanges input and kernel where the kernel is larger, and forgets to on an
 * unpadded axis of 2 taps.
 */
export function xlaEndsProcess({ axes, groups }: Geometry, input: Index): boolean {
  if (groups > 1) return false;
  const forgotten = axes.map(
    (axis) => axis.kernel === 2 && axis.stride === 2 && axis.dilation === 1 && inputPadding(axis).every((pad) => !pad),
  );
  const others = axes.filter((_, a) => !forgotten[a]);
  const taps = product(others.map((axis) => axis.kernel));
  const inputs = product(input.filter((_, a) => !forgotten[a]));
  return taps > inputs && forgotten.some((skip, a) => skip && input[a] !== 2);
}
