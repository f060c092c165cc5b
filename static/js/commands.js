// What can be typed after a slash at the start of a message: a list that the arrow keys, Enter, Tab and Escape work.

const MOST = 8;
let known = null; // of this page
let chosen = 0;

const list = () => document.getElementById("commands");

export async function offer(box) {
  if (!box.value.startsWith("/") || box.value.includes("\n")) return close(box);
  known ??= await fetch(box.dataset.commands, { headers: { Accept: "application/json" } })
    .then((response) => (response.ok ? response.json() : { results: [] }))
    .then((found) => found.results)
    .catch(() => null);
  const wanted = box.value.slice(1).toLowerCase();
  draw(box, (known ?? []).filter(({ label }) => label.toLowerCase().includes(wanted)).slice(0, MOST));
}

function draw(box, commands) {
  chosen = 0;
  list().replaceChildren(...commands.map((command, at) => optionOf(box, command, at)));
  list().hidden = !commands.length;
  mark(box);
}

function optionOf(box, command, at) {
  const option = document.createElement("li");
  option.id = `command-${at}`;
  option.setAttribute("role", "option");
  const hint = document.createElement("span");
  hint.className = "meta";
  hint.textContent = command.hint;
  option.append(`/${command.label} `, hint);
  option.command = command;
  option.addEventListener("mousedown", (event) => {
    event.preventDefault(); // the box keeps the focus
    take(box, command);
  });
  return option;
}

function mark(box) {
  [...list().children].forEach((option, at) => option.setAttribute("aria-selected", String(at === chosen)));
  const option = list().children[chosen];
  if (option) box.setAttribute("aria-activedescendant", option.id);
  else box.removeAttribute("aria-activedescendant");
}

function close(box) {
  list().hidden = true;
  box.removeAttribute("aria-activedescendant");
}

function take(box, { url, insert }) {
  close(box);
  if (url) return location.assign(url);
  box.value = insert;
}

// Was this key one for the list?
export function pressed(box, event) {
  const options = list().children;
  if (list().hidden || !options.length || event.ctrlKey || event.metaKey) return false;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    chosen = (chosen + step + options.length) % options.length;
    mark(box);
  } else if (event.key === "Enter" || event.key === "Tab") {
    take(box, options[chosen].command);
  } else if (event.key === "Escape") {
    close(box);
  } else {
    return false;
  }
  event.preventDefault();
  return true;
}
