"use strict";
// Renews the active calls while somebody can see them. Without it the page reloads itself.

(function () {
  const LIMIT = 10000; // milliseconds for an answer
  const LONGEST_PAUSE = 60; // seconds between attempts while the server does not answer

  function start() {
    const calls = document.getElementById("live-calls");
    const state = document.getElementById("live-state");
    const pause = document.getElementById("live-pause");
    const every = Number(calls.dataset.every);
    let timer = null;
    let failures = 0;
    let isPaused = false;
    let asking = null;

    function say(sentence) {
      // Screen readers speak each change, so an unchanged sentence is left alone.
      if (state.textContent !== sentence) state.textContent = sentence;
    }

    function stop() {
      clearTimeout(timer);
      timer = null;
      if (asking) asking.abort();
      asking = null;
    }

    function schedule(seconds) {
      clearTimeout(timer);
      timer = setTimeout(renew, seconds * 1000);
    }

    function show(html) {
      // Who has reached a link with the keyboard stays on it, and a table that was scrolled stays there.
      const focused = calls.contains(document.activeElement) ? document.activeElement.id : "";
      const before = document.getElementById("live-scroll");
      const left = before ? before.scrollLeft : 0;
      calls.innerHTML = html;
      const after = document.getElementById("live-scroll");
      if (after) after.scrollLeft = left;
      const again = focused && document.getElementById(focused);
      if (again) again.focus({ preventScroll: true });
    }

    async function renew() {
      const mine = new AbortController();
      asking = mine;
      const limit = setTimeout(() => mine.abort("limit"), LIMIT);
      try {
        const answer = await fetch(calls.dataset.address, { signal: mine.signal, credentials: "same-origin" });
        if (answer.redirected || answer.status === 403) {
          stop();
          say("You are signed out, or may not see this any more. Reload the page.");
          return;
        }
        if (!answer.ok) throw new Error("HTTP " + answer.status);
        const html = await answer.text();
        if (asking !== mine) return;
        // Text that is being selected would be lost.
        const selection = document.getSelection();
        if (selection.isCollapsed || !calls.contains(selection.anchorNode)) show(html);
        failures = 0;
        say("Renewed every " + every + " seconds.");
      } catch (error) {
        if (asking !== mine) return; // stopped on purpose
        failures += 1;
        say("Not renewed: the server does not answer. What you see is of the time shown.");
      } finally {
        clearTimeout(limit);
      }
      schedule(Math.min(LONGEST_PAUSE, every * 2 ** Math.min(failures, 10)));
    }

    function follow() {
      stop();
      if (isPaused) say("Paused.");
      else if (!document.hidden) renew();
    }

    pause.hidden = false;
    pause.addEventListener("click", function () {
      isPaused = !isPaused;
      pause.setAttribute("aria-pressed", String(isPaused));
      follow();
    });
    document.addEventListener("visibilitychange", follow);
    say("Renewed every " + every + " seconds.");
    if (!document.hidden) schedule(every);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
