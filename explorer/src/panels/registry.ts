/** All panels, in the order of the page. Another one is a file of this folder and a line here. */

import type { Panel } from "./frame";
import { frameworkCode } from "./framework_code";
import { glossary } from "./glossary";
import { loopLine } from "./loop_line";
import { notTheInverse } from "./not_the_inverse";
import { overlap } from "./overlap";
import { ownNumbers } from "./own_numbers";
import { predict } from "./predict";
import { sizeFormula } from "./size_formula";
import { sumInNumbers } from "./sum_in_numbers";
import { wantedSize } from "./wanted_size";

export const panels: readonly Panel[] = [
  sumInNumbers,
  loopLine,
  sizeFormula,
  frameworkCode,
  wantedSize,
  overlap,
  notTheInverse,
  predict,
  ownNumbers,
  glossary,
];
