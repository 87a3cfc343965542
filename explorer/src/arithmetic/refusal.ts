/** Error of settings that describe no operator: the field to correct, and what was given, needed, and to write. */
export class Refusal extends Error {
  constructor(
    readonly field: string,
    text: string,
  ) {
    super(text);
  }
}

/** Throw a Refusal. */
export function refuse(field: string, text: string): never {
  throw new Refusal(field, text);
}
