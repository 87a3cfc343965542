/** TensorFlow Lite (LiteRT): TRANSPOSE_CONV and CONV_3D_TRANSPOSE, with the argument names of tf.nn. */

import { outputShape } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { compact, crops, dilations, keywords, plainGeometry, strides } from "./arguments";
import type { Rules } from "./dialect";
import { outputShapeWord } from "./tensorflow";
import { cropBetween, NAMED, paddingName, spatialShape } from "./tensorflow_padding";
import { shown, source } from "./value";
import * as words from "./words";

export const tflite: Rules = {
  name: "tflite",
  framework: "TensorFlow Lite",
  ranks: [2, 3],
  dataPattern: "N*C",
  weight: (_, ndim) => ({ pattern: ndim === 3 ? "*OI" : "O*I", grouped: "I", flip: false }),
  names: ["output_shape", "strides", "padding", "dilations"],
  words: (rank) => [
    outputShapeWord,
    words.stride("strides"),
    words.choice("padding", ["SAME", "VALID"], "SAME", "Rule that splits the crop between both ends."),
    ...(rank === 3 ? [words.dilation("dilations")] : []),
  ],
  geometry({ kernel, input, words: { output_shape, strides: stride = 1, padding = "SAME", dilations: dilation = 1 } }) {
    const plain = plainGeometry(kernel, stride, dilation, 1, "strides dilations groups");
    if (kernel.length === 2 && Math.max(...dilations(plain)) > 1) {
      refuse(
        "dilations",
        `dilations is ${source(dilation)}; TRANSPOSE_CONV has no dilations, only CONV_3D_TRANSPOSE does. Use a 3-D ` +
          "call with a first axis of 1",
      );
    }
    if (typeof padding !== "string" || !Object.hasOwn(NAMED, padding)) {
      refuse("padding", `padding is ${shown(padding)}; "SAME" or "VALID" is needed. Use one of them`);
    }
    const pairs = kernel.map(() => NAMED[padding]!);
    return cropBetween(plain, pairs, padding, input, spatialShape(output_shape, plain, input, "the operator", -1));
  },
  reasonsAgainst(geometry, input) {
    const ndim = geometry.axes.length;
    const reasons = ndim === 2 || ndim === 3 ? [] : [`${ndim} spatial axes, only 2 or 3`];
    if (geometry.groups > 1) reasons.push(`${geometry.groups} groups, which it does not have`);
    if (ndim === 2 && Math.max(...dilations(geometry)) > 1) reasons.push("a dilation in 2-D");
    if (!paddingName(geometry, input)) {
      reasons.push(`the crop ${source(crops(geometry))} at input ${source(input)}, which is neither SAME nor VALID`);
    }
    return reasons;
  },
  nativeArguments: (geometry, input) => ({
    output_shape: outputShape(geometry, input),
    strides: compact(strides(geometry)),
    padding: paddingName(geometry, input),
    dilations: compact(dilations(geometry)),
  }),
  // the operator has no function of its own: a model of tf.nn's call is converted and run
  callCode({ output_shape, ...rest }, geometry) {
    const flat = geometry.axes.length === 2;
    const weight = flat ? "tf.transpose(weight, (1, 2, 0, 3))" : "weight";
    const sizes = ["x.shape[0]", ...(output_shape as number[]), `weight.shape[${flat ? 0 : 3}]`].join(", ");
    const call = `tf.nn.conv${geometry.axes.length}d_transpose(x, ${weight}, [${sizes}]${keywords(rest, { dilations: 1 })})`;
    const traced = `tf.function(lambda x: ${call}).get_concrete_function(tf.TensorSpec(x.shape, x.dtype))`;
    const model = `tf.lite.TFLiteConverter.from_concrete_functions([${traced}], tf.Module()).convert()`;
    return `ai_edge_litert.interpreter.Interpreter(model_content=${model}).get_signature_runner()(x=x)["output_0"]`;
  },
};
