// What makes the pages comfortable: sorting and filtering at once, keys, copying, a theme that is
// remembered. Nothing here is needed to use them.
"use strict";
{
  const root = document.documentElement;
  root.classList.add("scripted");

  // Light or dark: what the system says, unless the other one was chosen here.
  const THEME = "tcpdl-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const preferred = () => (system.matches ? "dark" : "light");
  function remembered() {
    try {
      const theme = localStorage.getItem(THEME);
      return theme === "dark" || theme === "light" ? theme : null;
    } catch {
      return null; // it may be forbidden
    }
  }
  function remember(theme) {
    try {
      if (theme) localStorage.setItem(THEME, theme);
      else localStorage.removeItem(THEME);
    } catch {}
  }
  function dress(theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
  }
  dress(remembered());

  document.addEventListener("DOMContentLoaded", () => {
    const find = (selector) => document.querySelector(selector);
    const status = find("#status");
    let quiet = 0;
    function say(text) {
      status.textContent = text;
      clearTimeout(quiet);
      quiet = setTimeout(() => (status.textContent = ""), 2500);
    }

    const toggle = find("#theme");
    const now = () => (toggle.dataset.now = root.dataset.theme || preferred());
    now();
    system.addEventListener("change", now);
    toggle.addEventListener("click", () => {
      const wanted = now() === "dark" ? "light" : "dark";
      const chosen = wanted === preferred() ? null : wanted;
      dress(chosen);
      remember(chosen);
      say(now() === "dark" ? "Dark" : "Light");
    });

    // Copying. The clipboard's own interface is there over TLS and on localhost only.
    async function copy(text) {
      try {
        await navigator.clipboard.writeText(text);
        return true;
      } catch {
        const give = (event) => {
          event.clipboardData.setData("text/plain", text);
          event.preventDefault();
        };
        document.addEventListener("copy", give);
        const done = document.execCommand("copy");
        document.removeEventListener("copy", give);
        return done;
      }
    }
    for (const button of document.querySelectorAll(".copy")) {
      button.addEventListener("click", async () => {
        const code = button.parentNode.querySelector("code");
        if (await copy(code.textContent)) {
          button.classList.add("done");
          setTimeout(() => button.classList.remove("done"), 2500);
          say("Copied");
        } else {
          getSelection().selectAllChildren(code);
          say("Press Ctrl+C to copy");
        }
      });
    }

    const table = find("#files");
    const files = table && listing(table, find("#wanted"), find(".empty"), say);

    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      const field = event.target.closest("input, textarea, select");
      const act = (files && files.keys(event.key, field)) || (field ? null : elsewhere(event.key));
      if (act) {
        event.preventDefault();
        act();
      }
    });
    function elsewhere(key) {
      const up = find("a[rel=up]");
      if (key === "Backspace" && up) return () => up.click();
      if (key === "c") {
        return async () => {
          const link = document.activeElement.closest("#files a");
          const url = link ? link.href : location.origin + location.pathname;
          say((await copy(url)) ? "Copied the address" : url);
        };
      }
      return null;
    }
  });

  // The table of a folder.
  function listing(table, field, empty, say) {
    const BLOCK = 100; // rows of a tbody, as the server has it
    const AT_ONCE = 200; // rows that are sure to fill a window
    const FALLING_FIRST = ["size", "time"];
    const headings = [...table.querySelectorAll("thead button")];
    const ordered = headings[0].form.elements.filter;
    const current = headings.find((heading) => heading.className);
    let by = current.dataset.by;
    let falling = current.className === "descending";
    let known = null;
    let shown = null;
    let placed = 0;
    let placing = 0;

    const fold = (text) => text.normalize("NFC").toLowerCase();
    const longerLater = (digits) => {
      const plain = digits.replace(/^0+/, "");
      return "0" + String.fromCharCode(256 + plain.length) + plain;
    };
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    const BY = {
      name: (a, b) => compare(a.key, b.key),
      size: (a, b) => a.size - b.size,
      time: (a, b) => compare(a.time, b.time),
      type: (a, b) => compare(a.type, b.type),
    };

    function entries() {
      if (known) return known;
      const rows = [...table.querySelectorAll("tbody:not(.up) tr")];
      known = rows.map((row, at) => {
        const [head, size, time] = row.cells;
        const text = fold(head.firstElementChild.textContent);
        const dot = text.lastIndexOf(".");
        return {
          row, at, text,
          folder: row.className === "d",
          key: text.replace(/[0-9]+/g, longerLater),
          size: parseInt((size.title || size.textContent).replace(/,/g, "")) || 0,
          time: time.firstElementChild ? time.firstElementChild.dateTime : "",
          type: dot > 0 ? text.slice(dot + 1) : "",
        };
      });
      return known;
    }

    // Shows `list`: what is in sight at once, the rest while nothing else is to be done.
    function show(list) {
      for (const body of table.querySelectorAll("tbody:not(.up)")) body.remove();
      shown = list;
      placed = 0;
      place(AT_ONCE);
      if (table.getBoundingClientRect().top < 0) table.scrollIntoView();
      const none = !list.length && known.length > 0;
      empty.hidden = !none && known.length > 0;
      if (none) empty.querySelector("bdi").textContent = field.value;
    }
    function place(rows) {
      clearTimeout(placing);
      for (const end = placed + rows; placed < Math.min(end, shown.length); placed += BLOCK) {
        const body = document.createElement("tbody");
        body.append(...shown.slice(placed, placed + BLOCK).map((entry) => entry.row));
        table.append(body);
      }
      if (placed < shown.length) placing = setTimeout(place, 0, 10 * AT_ONCE);
    }

    // Filtering. What the server left out for its own filter must be fetched again.
    const served = fold(field.defaultValue);
    let later = 0;
    function filter() {
      const wanted = fold(field.value);
      clearTimeout(later);
      if (!wanted.includes(served)) {
        later = setTimeout(() => field.form.requestSubmit(), 400);
        return;
      }
      show(wanted ? entries().filter((entry) => entry.text.includes(wanted)) : entries());
      later = setTimeout(() => {
        address();
        if (wanted) say(`${shown.length} of ${known.length}`);
      }, 300);
    }
    field.addEventListener("input", filter);
    field.form.addEventListener("submit", (event) => {
      if (fold(field.value).includes(served)) event.preventDefault();
    });
    field.addEventListener("focus", entries);
    if (field.autofocus) field.setSelectionRange(field.value.length, field.value.length);

    // Sorting.
    function sort(heading) {
      const same = heading.dataset.by === by;
      by = heading.dataset.by;
      falling = same ? !falling : FALLING_FIRST.includes(by);
      const sign = falling ? -1 : 1;
      const inOrder = (a, b) => b.folder - a.folder || sign * BY[by](a, b) || BY.name(a, b) || a.at - b.at;
      entries().sort(inOrder);
      show((shown || known).slice().sort(inOrder));
      const order = falling ? "descending" : "ascending";
      for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
      heading.closest("th").setAttribute("aria-sort", by === "type" ? "other" : order);
      for (const other of headings) other.className = other === heading ? order : "";
      address();
      say(`Sorted by ${heading.textContent.toLowerCase()}, ${order}`);
    }
    for (const heading of headings) {
      heading.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        sort(heading);
      });
    }

    // The address says what is seen, for who reloads, shares it or comes back.
    function address() {
      const query = new URLSearchParams(location.search);
      const sorted = (falling ? "-" : "") + by;
      if (sorted === "name") query.delete("sort");
      else query.set("sort", sorted);
      if (field.value) query.set("filter", field.value);
      else query.delete("filter");
      for (const heading of headings) {
        const next = heading.dataset.by;
        heading.value = ((next === by ? !falling : FALLING_FIRST.includes(next)) ? "-" : "") + next;
      }
      ordered.value = field.value;
      ordered.disabled = !field.value;
      history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
    }

    // Keys.
    function step(way) {
      if (shown) place(Infinity);
      const links = [...table.querySelectorAll("tbody th a")];
      const row = document.activeElement.closest("tbody tr");
      const at = row ? links.indexOf(row.querySelector("th a")) : way > 0 ? -1 : links.length;
      const next = links[way === Infinity ? links.length - 1 : way === -Infinity ? 0 : at + way];
      if (next) next.focus();
      else if (way < 0) field.focus();
    }
    function keys(key, typing) {
      if (typing && typing !== field) return null;
      if (key === "ArrowDown") return () => step(1);
      if (key === "Escape") {
        return () => {
          if (field.value) {
            field.value = "";
            filter();
          } else document.activeElement.blur();
        };
      }
      if (typing) {
        if (key !== "Enter" || !fold(field.value).includes(served)) return null;
        return () => {
          const links = table.querySelectorAll("tbody:not(.up) th a");
          if (links.length === 1) links[0].click();
          else step(1);
        };
      }
      if (key === "ArrowUp") return () => step(-1);
      if (key === "Home") return () => step(-Infinity);
      if (key === "End") return () => step(Infinity);
      if (key === "/") return () => (field.focus(), field.select());
      return null;
    }
    return { keys };
  }
}
