/* For keyboards and screen readers: what unfold opens by a mouse only, and names that it leaves out. */
"use strict";
{
  const NATIVE = "a[href], button, input, select, textarea, summary";
  const FOCUSABLE = "a[href], button:not([disabled]), input:not([type=hidden]), select, textarea";
  const MADE = "[role=button][x-on\\:click]:not(a[href], button)";
  const PATIENCE = 10000; // milliseconds until something that opens can be seen
  // By the variable of Alpine that a click turns: what the thing opens, and its name where no text says it.
  const OPENED = {
    filterOpen: { panel: "#changelist-filter" },
    openUserLinks: { panel: "#nav-sidebar nav.absolute" },
    sidebarMobileOpen: { panel: "#nav-sidebar", name: "Close the side bar" },
    openRelatedWidgetWrapper: { name: "More about this choice" },
    showPassword: { name: "Show the password" },
  };
  let opener = null;

  const variable = (element) => /^\s*(\w+)\s*=/.exec(element.getAttribute("x-on:click"))?.[1];
  const panelOf = (element) => document.querySelector(OPENED[variable(element)]?.panel ?? "#nothing");
  const isShown = (element) => element.checkVisibility({ checkVisibilityCSS: true });
  const isOpen = (element) => Boolean(window.Alpine?.evaluate(element, variable(element)));

  function makeReachable() {
    for (const element of document.querySelectorAll("[x-on\\:click]")) {
      if (element.matches(NATIVE) || element.matches("#changelist-filter-close, template")) continue;
      element.tabIndex = 0;
      element.setAttribute("role", "button");
      const name = OPENED[variable(element)]?.name;
      if (name) element.setAttribute("aria-label", name);
    }
  }

  /* Select2 names its box after the chosen value, which is nothing at first. */
  function nameBoxes() {
    for (const select of document.querySelectorAll("select.select2-hidden-accessible")) {
      const label = document.querySelector(`label[for="${CSS.escape(select.id)}"]`)?.firstChild?.textContent.trim();
      const box = select.nextElementSibling?.querySelector("[role=combobox]");
      const value = box?.querySelector("[role=textbox]");
      if (!label || !value?.id || box.hasAttribute("aria-label")) continue;
      box.setAttribute("aria-label", label);
      value.setAttribute("aria-label", label);
      // The label, then what was chosen.
      box.id ||= `${value.id}-box`;
      box.setAttribute("aria-labelledby", `${box.id} ${value.id}`);
    }
  }

  function nameTheRest() {
    // The headings of filters follow that of the page.
    for (const heading of document.querySelectorAll("#changelist-filter h3")) heading.setAttribute("aria-level", "2");
    // A span has no name, a picture has.
    for (const mark of document.querySelectorAll("span.help-tooltip[aria-label]")) mark.setAttribute("role", "img");
    for (const head of document.querySelectorAll(".formset-wrapper th:last-child")) {
      if (!head.textContent.trim()) head.insertAdjacentHTML("beforeend", '<span class="sr-only">Delete</span>');
    }
    const boxes = { "#nav-sidebar": "Entries of the side bar", "#changelist-filter": "Filters" };
    for (const [place, name] of Object.entries(boxes)) {
      document.querySelector(`${place} .simplebar-content-wrapper`)?.setAttribute("aria-label", name);
    }
  }

  function prepare() {
    makeReachable();
    nameBoxes();
    nameTheRest();
  }

  /* Whoever opens something by keyboard goes on in it, as soon as it can be seen. */
  function enter(element, panel, deadline = performance.now() + PATIENCE) {
    if (!isOpen(element)) return; // closed again before it could be seen
    const first = isShown(panel) && [...panel.querySelectorAll(FOCUSABLE)].find(isShown);
    if (first) first.focus();
    else if (performance.now() < deadline) requestAnimationFrame(() => enter(element, panel, deadline));
  }

  document.addEventListener("keydown", (event) => {
    if (!event.target.matches?.(MADE) || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    event.target.click();
  });

  document.addEventListener("click", (event) => {
    const element = event.target.closest?.("[x-on\\:click]");
    const panel = element && panelOf(element);
    // By keyboard a click comes from no place.
    if (!panel || event.detail !== 0) return;
    if (isOpen(element)) {
      // The button that closes lies in the side bar itself.
      opener = panel.contains(element) ? opener : element;
      enter(element, panel);
    } else {
      opener?.focus();
      opener = null;
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !opener) return;
    const back = opener;
    opener = null;
    // The filters close by themselves, at the same key.
    if (variable(back) !== "filterOpen" && isOpen(back)) back.click();
    back.focus();
  });

  document.addEventListener("DOMContentLoaded", () => {
    (document.getElementById("main") || document.getElementById("page"))?.setAttribute("role", "main");
    prepare();
    // Select2 makes its boxes and Alpine copies its templates later, and rows are added to forms.
    new MutationObserver((changes) => {
      if (changes.some((change) => change.addedNodes.length)) prepare();
    }).observe(document.body, { childList: true, subtree: true });
  });
}
