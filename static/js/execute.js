// “Execute chain” over the API: POST /chain/execute, then the page of the run. What the API refuses, the form itself
// is sent for: its answer explains the refusal at the fields.
import { csrfToken, toast } from "./page.js";

export function wireExecute() {
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-execute]") || event.defaultPrevented) return;
    event.preventDefault();
    execute(event.target, event.submitter);
  });
}

async function execute(form, button) {
  let response;
  try {
    response = await fetch("/chain/execute", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": csrfToken() },
      body: JSON.stringify(await requestOf(form)),
    });
  } catch {
    toast("The server cannot be reached, or an input is not JSON. Check both, then try again.");
    setTimeout(() => button?.removeAttribute("disabled"));
    return;
  }
  if (!response.ok) return form.submit();
  location.assign(`/runs/${(await response.json()).run_id}`);
}

async function requestOf(form) {
  const { template, run } = form.dataset;
  if (run) {
    const { plan, inputs } = await (await fetch(`/chain/runs/${run}`, { headers: { Accept: "application/json" } })).json();
    return { plan, inputs };
  }
  const approval = form.elements.approval?.checked ? { approval: "ask" } : {};
  return { template_id: template, inputs: inputsOf(form), ...approval };
}

function inputsOf(form) {
  const fields = [...form.elements].filter((field) => field.name.startsWith("input-") && field.value !== "");
  return Object.fromEntries(fields.map((field) => [field.name.slice("input-".length), valueOf(field)]));
}

function valueOf(field) {
  if (field.type === "checkbox") return field.checked;
  if (field.type === "number") return field.valueAsNumber;
  return field.matches("textarea.code") ? JSON.parse(field.value) : field.value;
}
