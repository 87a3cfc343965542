/** Names of elements as the page writes them: x[1, 2], with the channel before it where there are several. */

import type { Product, Scene } from "../arithmetic/scene";

/** "(1, 2)" of several axes, the number alone of one. */
export function bracketed(numbers: readonly number[]): string {
  return numbers.length === 1 ? String(numbers[0]) : `(${numbers.join(", ")})`;
}

export function inputName(scene: Scene, channel: number, index: readonly number[]): string {
  return `x[${[...(scene.channels.input > 1 ? [channel] : []), ...index].join(", ")}]`;
}

export function outputName(scene: Scene, channel: number, index: readonly number[]): string {
  return `y[${[...(scene.channels.output > 1 ? [channel] : []), ...index].join(", ")}]`;
}

export function fullName(scene: Scene, channel: number, index: readonly number[]): string {
  return `full[${[...(scene.channels.output > 1 ? [channel] : []), ...index].join(", ")}]`;
}

/** Name of the weight's element of a product. Its second axis counts the outputs of a group. */
export function tapName(scene: Scene, product: Product): string {
  const { input, output } = scene.channels;
  const perGroup = output / scene.geometry.groups;
  const channels = input > 1 || output > 1 ? [product.inputChannel, product.outputChannel % perGroup] : [];
  return `w[${[...channels, ...product.tap].join(", ")}]`;
}
