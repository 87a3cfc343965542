// A question checks itself: a field in front of each <details> named "Answer", compared with the output of its cell.
// Without this script the page is complete: the answer is opened.

const numbers = (text) =>
  (text.match(/[-\u2212]?(?:\d+\.?\d*|\.\d+)/g) ?? []).map((each) => Number(each.replace("\u2212", "-")));
const withoutCommas = (text) => text.replace(/(\d),(?=\d{3}\b)/g, "$1");
const words = (text) => text.toLowerCase().match(/[a-z]+/g) ?? [];

// Of an answer in numbers the numbers count: "64 x 16", "64 and 16.0" and (64, 16) are one answer; of a set in braces in
// any order. A comma before three digits parts two numbers or the thousands of one. Of a letter that was chosen, "B.", "(b)" and "b: its text" are one answer. All others are words.
function isRight(given, answer) {
  const letter = answer.match(/^\W*([a-z])\W*$/i)?.[1];
  if (letter) return given.match(/^\W*([a-z])\s*(?:$|[:.)\]"'\u2019])/i)?.[1].toLowerCase() === letter.toLowerCase();
  const parts = numbers(answer).length ? numbers : words;
  const ordered = (text) => (answer.trim().startsWith("{") ? parts(text).sort() : parts(text)).join();
  return [given, withoutCommas(given)].some((text) => ordered(text) === ordered(answer));
}

// Sentence on the questions of the page that were answered; the first answer to each counts.
function countOf(forms) {
  const firsts = forms.map((form) => form.dataset.first).filter(Boolean);
  const right = firsts.filter((first) => first === "right").length;
  return forms.length > 1 ? ` ${right} of ${firsts.length} right at the first try, of ${forms.length} questions.` : "";
}

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
    const given = form.querySelector("input").value.trim();
    const right = isRight(given, output.textContent);
    form.dataset.result = given ? (right ? "right" : "wrong") : "";
    if (given) form.dataset.first ??= form.dataset.result;
    const sentence = right ? "Right." : "Not that. Try again, or open the answer.";
    const count = countOf([...document.querySelectorAll("form.question")]);
    form.querySelector("output").textContent = given ? sentence + count : "";
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
