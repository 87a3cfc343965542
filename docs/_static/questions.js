// A question checks itself: a field in front of each <details> named "Answer", compared with the output of its cell.
// Without this script the page is complete: the answer is opened.
// "3 and 5", "3, 5" and [3, 5] are one answer.
const plain = (text) => (text.toLowerCase().match(/[a-z0-9.-]+/g) ?? []).filter((word) => word !== "and").join(",");

function addField(details, number) {
  const output = details.querySelector(".cell_output pre");
  if (!output) return;
  const form = document.createElement("form");
  form.className = "question";
  form.innerHTML = `<label for="question-${number}">Your answer</label>
    <input id="question-${number}" autocomplete="off" autocapitalize="off" spellcheck="false">
    <button type="submit">Check</button> <output for="question-${number}"></output>`;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = plain(form.querySelector("input").value);
    const right = given === plain(output.textContent);
    form.dataset.result = given ? (right ? "right" : "wrong") : "";
    form.querySelector("output").textContent = given ? (right ? "Right." : "Not that. Try again, or open the answer.") : "";
    if (right) details.open = true;
  });
  details.before(form);
}

document.addEventListener("DOMContentLoaded", () => {
  const answers = [...document.querySelectorAll("details")].filter(
    (details) => details.querySelector("summary")?.textContent.trim() === "Answer",
  );
  answers.forEach(addField);
});
