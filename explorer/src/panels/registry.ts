/** All panels, in the order of the page. Another one is a file of this folder and a line here. */

import type { Panel } from "./frame";
import { glossary } from "./glossary";
import { loopLine } from "./loop_line";
import { sizeFormula } from "./size_formula";
import { sumInNumbers } from "./sum_in_numbers";

export const panels: readonly Panel[] = [sumInNumbers, loopLine, sizeFormula, glossary];
