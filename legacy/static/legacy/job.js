/* Shows how far an import is, until it has ended. */
"use strict";

const box = document.getElementById("job");
const said = document.getElementById("job-said");
const EVERY = 1500; // milliseconds
let state = box.firstElementChild.dataset.state;

async function look() {
  try {
    const answer = await fetch(box.dataset.address, { credentials: "same-origin", redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    box.innerHTML = await answer.text();
    const now = box.firstElementChild;
    // Screen readers hear of a change of state, not of every row.
    if (now.dataset.state !== state) {
      state = now.dataset.state;
      said.textContent = now.querySelector("[data-sentence]").textContent;
      document.querySelector("form[action$='/cancel/']")?.remove();
    }
    if ("ended" in now.dataset) return;
  } catch {
    said.textContent = "The page cannot be refreshed at the moment; trying again.";
  }
  setTimeout(look, EVERY);
}

setTimeout(look, EVERY);
