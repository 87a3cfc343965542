/** Contract of a dialect: the words with which one framework writes a transposed convolution. */

import type { Geometry, Index, Pair } from "../arithmetic/geometry";
import type { Arguments, Value } from "./value";

export type Part = "stride" | "dilation" | "groups" | "crop";

/** A field of the page: one argument of the framework, by its own name. */
export interface Word {
  readonly name: string;
  /** Part of the geometry that it sets, alone or with others. */
  readonly part: Part;
  /** "sizes" is a number or one per axis, "count" one number, "text" anything that the hint describes. */
  readonly kind: "sizes" | "count" | "choice" | "flag" | "text";
  /** Text of the default; "" where leaving it out is the only way to say it. */
  readonly fallback: string;
  readonly choices?: readonly string[];
  /** Ends of a slider, no limits. */
  readonly least?: number;
  readonly most?: number;
  readonly hint?: string;
  /** The framework has no default: the page writes `fallback`. */
  readonly required?: boolean;
  /** The framework takes a sequence only: the page writes one number for each axis. */
  readonly each?: boolean;
  /** The framework must be told a size: the page writes the usual one. */
  readonly natural?: boolean;
}

/** Axis order of the framework's weight; `*` stands for the taps, which `flip` stores in reverse. */
export interface WeightLayout {
  readonly pattern: string;
  /** Axis with the channels of all groups; "G" is an axis of its own that counts the groups. */
  readonly grouped: "I" | "O" | "G";
  readonly flip: boolean;
}

/** Arguments of a call, with the sizes of x. */
export interface Call {
  readonly kernel: readonly number[];
  readonly input: Index;
  readonly words: Readonly<Record<string, Value>>;
}

export interface Rules {
  readonly name: string;
  readonly framework: string;
  /** Fewest and most spatial axes. */
  readonly ranks: readonly [number, number];
  readonly dataPattern: string;
  readonly weight: (groups: number, ndim: number) => WeightLayout;
  /** Fields, in the order of the framework's own signature. */
  readonly words: (rank: number) => readonly Word[];
  /** All arguments, also those that no field is for, because they change the order of axes alone. */
  readonly names: readonly string[];
  /** Geometry that the arguments mean. Refuses those that mean none. */
  geometry(call: Call): Geometry;
  /** Every part of a geometry that the arguments cannot say, each as a noun phrase. */
  reasonsAgainst(geometry: Geometry, input: Index): string[];
  /** Arguments of a geometry that there are no reasons against. */
  nativeArguments(geometry: Geometry, input: Index): Arguments;
  /** Call with these arguments, as an expression of x and weight. */
  callCode(given: Arguments, geometry: Geometry): string;
  /** Expression that extends y with zeros, one pair per native axis. */
  readonly padCode?: (pairs: readonly Pair[]) => string;
  /** Lines of code before the call. */
  readonly before?: (geometry: Geometry) => string[];
}

export interface Dialect extends Rules {
  /** Python that computes y from x and weight. Refuses a geometry that the framework cannot say with a slice either.
   *  `own` are texts of the fields, whose name of a padding is kept. */
  code(geometry: Geometry, input: Index, own?: Readonly<Record<string, string>>): string;
  /** Native arguments with the padding by the name in the texts of the fields, where it means the same. */
  worded(geometry: Geometry, input: Index, own: Readonly<Record<string, string>>): Arguments;
  /** Texts of the fields that say this geometry; there must be no reasons against it. */
  wordsOf(geometry: Geometry, input: Index): Record<string, string>;
}
