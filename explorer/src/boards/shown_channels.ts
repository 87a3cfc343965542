/** Choice of the channels that the boards show, where there are several. */

import { make } from "../page/elements";
import type { Actions, Moment, View } from "../state/view";

export function shownChannels(actions: Actions): View {
  let now: Moment | null = null;
  const choice = (side: "input" | "output") => {
    const select = make("select", { id: `shown-${side}` });
    select.addEventListener("change", () => {
      // a cell of another channel would be told of beside boards that do not show it
      if (now) actions.select({ shown: { ...now.selection.shown, [side]: Number(select.value) }, pinned: null });
    });
    return { side, select, label: make("label", { for: `shown-${side}` }, `${side.toUpperCase()} channel `, select) };
  };
  const choices = [choice("input"), choice("output")];
  const element = make(
    "div",
    { class: "shown", hidden: true },
    ...choices.map((one) => one.label),
    make("p", {}, "The boards show one channel of each. An output cell sums over all input channels of its group."),
  );
  return {
    element,
    draw(moment) {
      now = moment;
      if (!moment.scene) return;
      const { channels } = moment.scene;
      element.hidden = channels.input === 1 && channels.output === 1;
      for (const { side, select, label } of choices) {
        label.hidden = channels[side] === 1;
        if (select.length !== channels[side]) {
          select.replaceChildren(
            ...Array.from({ length: channels[side] }, (_, at) => make("option", { value: at }, String(at))),
          );
        }
        select.value = String(moment.selection.shown[side]);
      }
    },
  };
}
