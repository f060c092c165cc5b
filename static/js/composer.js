// The composer: Ctrl-Enter sends, a sent question empties the box and comes into view, nothing typed is lost on an error.
// In an empty box the up arrow edits the last question; "/" offers templates and servers (commands.js).
import { offer, pressed } from "./commands.js";

const lastTurn = () => document.querySelector(".turns > .turn:last-child");

export function wireComposer() {
  document.addEventListener("keydown", (event) => {
    const box = event.target.closest?.("[data-composer] textarea");
    if (!box || pressed(box, event)) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      box.form.requestSubmit();
    } else if (event.key === "ArrowUp" && !box.value) {
      editLast(event);
    }
  });
  document.addEventListener("input", (event) => {
    const box = event.target.closest?.("[data-composer] textarea");
    if (box) offer(box);
  });
  document.body.addEventListener("htmx:afterRequest", (event) => {
    const form = event.target.closest?.("[data-composer]");
    if (!form || !event.detail.successful) return;
    form.querySelector("textarea").value = "";
    const asked = lastTurn()?.querySelector("[data-question]")?.dataset.question;
    if (asked) form.elements.after.value = asked;
    lastTurn()?.scrollIntoView({ block: "start", behavior: "smooth" });
  });
  if (lastTurn() && !location.hash) window.scrollTo({ top: document.body.scrollHeight });
}

function editLast(event) {
  const edit = lastTurn()?.querySelector("[data-edit]");
  if (!edit) return;
  event.preventDefault();
  edit.open = true;
  const box = edit.querySelector("textarea");
  box.focus();
  box.setSelectionRange(box.value.length, box.value.length);
}

// Code in an answer is copied by a button of its own.
export function showCodeCopies(root) {
  for (const block of root.querySelectorAll(".text > pre:not([data-copied-by])")) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "button small quiet copy-code", textContent: "Copy" });
    button.setAttribute("aria-label", "Copy this code");
    block.querySelector("code").id ||= `code-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    button.dataset.copy = block.querySelector("code").id;
    block.dataset.copiedBy = button.dataset.copy;
    block.append(button);
  }
}
