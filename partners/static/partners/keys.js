/* The pages of API keys: a form is sent once, and the key is copied with one press. */
"use strict";

for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", () => {
    for (const button of form.querySelectorAll("[type=submit]")) {
      // After the browser has read the form: a disabled button would not be sent.
      setTimeout(() => { button.disabled = true; });
    }
  });
}

/* Browsers offer the clipboard on https and on this machine only; elsewhere the old command still copies. */
async function copy(element) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  }
  select(element);
  return document.execCommand("copy");
}

function select(element) {
  const selection = window.getSelection();
  selection.removeAllRanges();
  const range = document.createRange();
  range.selectNodeContents(element);
  selection.addRange(range);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const said = document.querySelector("[data-copied]");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      said.textContent = (await copy(source)) ? "Copied." : "Not copied: select the text and copy it.";
    } catch {
      select(source);
      said.textContent = "The browser did not allow it: copy the selected text with Ctrl-C.";
    }
  });
}
