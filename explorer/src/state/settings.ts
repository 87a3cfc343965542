/** What the user chose: all of it stands in the address, so a link shows the same page. */

export interface Settings {
  /** Framework whose words the settings are in: a key of `dialects`. */
  readonly dialect: string;
  /** Number of spatial axes. */
  readonly rank: 1 | 2;
  /** Sizes per axis; one number stands for all axes. */
  readonly kernel: readonly number[];
  readonly input: readonly number[];
  /** Arguments of the dialect, by its own names, as text: {"stride": "2", "padding": "same"}. */
  readonly words: Readonly<Record<string, string>>;
  readonly channels: { readonly input: number; readonly output: number };
  /** Numbers of x and of the weight: a rule of small whole numbers, or the user's own. */
  readonly values: { readonly x: Values; readonly weight: Values };
}

/**
 * Rule of numbers, or the user's own: x [channels, *input], weight [C_in, C_out/groups, *kernel], without the channels
 * where there is one of each.
 */
export type Values =
  | { readonly rule: "counting" | "ones" | "bilinear" }
  | { readonly rule: "random"; readonly seed?: number }
  | { readonly shape: readonly number[]; readonly numbers: readonly number[] };

/** A setting that describes no operator: which field, what was given, what is needed. */
export interface Mistake {
  readonly field: string;
  readonly text: string;
}
