// The composer: Ctrl-Enter sends, a sent question empties the box and comes into view, nothing typed is lost on an error.

export function wireComposer() {
  document.addEventListener("keydown", (event) => {
    const box = event.target.closest?.("[data-composer] textarea");
    if (!box || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    box.form.requestSubmit();
  });
  document.body.addEventListener("htmx:afterRequest", (event) => {
    const form = event.target.closest?.("[data-composer]");
    if (!form || !event.detail.successful) return;
    form.querySelector("textarea").value = "";
    document.querySelector(".turns > .turn:last-child")?.scrollIntoView({ block: "start", behavior: "smooth" });
  });
  const last = document.querySelector(".turns > .turn:last-child");
  if (last && !location.hash) window.scrollTo({ top: document.body.scrollHeight });
}
