// The pages' script: everything here improves what links and forms already do without it.
import { connectAll } from "./live.js";
import { drawAll } from "./arrows.js";
import { showCodeCopies, wireComposer } from "./composer.js";
import { wireExecute } from "./execute.js";
import { wirePage } from "./page.js";
import { wirePasskeys } from "./passkeys.js";
import { showReplays, wireReplay } from "./replay.js";
import { showTimes } from "./times.js";

function boot(root) {
  drawAll(root);
  connectAll(root);
  showTimes(root);
  showReplays(root);
  showCodeCopies(root);
}

wirePage();
wireComposer();
wireExecute();
wireReplay();
wirePasskeys();
boot(document.body);
document.body.addEventListener("htmx:load", (event) => boot(event.detail.elt));
document.body.addEventListener("fragment:replaced", (event) => {
  drawAll(event.target);
  showTimes(event.target);
  showCodeCopies(event.target);
  showReplays(event.target.parentElement);
});
