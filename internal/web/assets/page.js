'use strict';
// Keeps a page up to date: parts of it come as server-sent events and are put in place by their ids. What somebody has typed, the focus,
// a selection and the scroll position stay, because elements are changed and not replaced.
(() => {
  const live = document.getElementById('live');
  const events = document.body.dataset.events;
  // How far the daemon's clock is ahead, in milliseconds.
  let ahead = Date.parse(document.body.dataset.now) - Date.now() || 0;

  const count = (n, noun) => String(n).replace(/\B(?=(\d{3})+$)/g, '\u202f') + ' ' + noun + (n === 1 ? '' : 's');
  // As the server writes it.
  const span = (s) => s < 120 ? count(Math.round(s), 'second') : s < 7200 ? count(Math.round(s / 60), 'minute')
    : s < 172800 ? count(Math.round(s / 3600), 'hour') : count(Math.round(s / 86400), 'day');
  const tell = () => {
    const now = Date.now() + ahead;
    for (const time of document.querySelectorAll('time[data-is]')) {
      const s = (Date.parse(time.dateTime) - now) / 1000;
      const words = time.dataset.is === 'till' ? (s < 1 ? 'now' : 'in ' + span(s)) : (-s < 1 ? 'just now' : span(-s) + ' ago');
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(() => { if (!document.hidden) tell(); }, 1000);

  // become makes an element like another one.
  const become = (is, want) => {
    if (is.nodeType !== want.nodeType || is.nodeName !== want.nodeName) {
      is.replaceWith(want);
      return;
    }
    if (is.nodeType !== Node.ELEMENT_NODE) {
      if (is.nodeValue !== want.nodeValue) is.nodeValue = want.nodeValue;
      return;
    }
    if (is.nodeName === 'INPUT' && is.type !== 'hidden') return;
    for (const {name} of [...is.attributes]) {
      if (!want.hasAttribute(name) && !(name === 'open' && is.nodeName === 'DETAILS')) is.removeAttribute(name);
    }
    for (const {name, value} of want.attributes) {
      if (is.getAttribute(name) !== value) is.setAttribute(name, value);
    }
    let at = is.firstChild;
    for (const child of [...want.childNodes]) {
      let found = at;
      if (child.id) found = [...is.children].find((c) => c.id === child.id);
      else if (at && at.id) found = null;
      if (!found) {
        is.insertBefore(child, at);
        continue;
      }
      if (found === at) at = at.nextSibling;
      else is.insertBefore(found, at);
      become(found, child);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  const parse = (html) => {
    const template = document.createElement('template');
    template.innerHTML = html;
    return template.content.firstElementChild;
  };

  // Rows move only while nobody points at them or has the focus there, so that nobody meets another row than they aim at.
  const rows = document.getElementById('rows');
  const made = new Map();
  let order = null;
  const busy = () => rows.matches(':hover') || rows.contains(document.activeElement);
  const arrange = () => {
    if (!order || busy()) return;
    const wanted = new Set(order);
    for (const row of [...rows.children]) if (!wanted.has(row.id)) row.remove();
    let at = rows.firstElementChild;
    for (const id of order) {
      const row = document.getElementById(id) || made.get(id);
      if (!row) continue;
      if (row === at) at = at.nextElementSibling;
      else rows.insertBefore(row, at);
    }
    made.clear();
    order = null;
  };
  if (rows) {
    rows.addEventListener('pointerleave', () => setTimeout(arrange));
    rows.addEventListener('focusout', () => setTimeout(arrange));
  }

  const change = ({title, now, parts, rows: ids}) => {
    ahead = Date.parse(now) - Date.now() || 0;
    if (document.title !== title) document.title = title;
    for (const [id, html] of Object.entries(parts || {})) {
      const want = parse(html), is = document.getElementById(id);
      if (is) become(is, want);
      else made.set(id, want);
    }
    if (rows && ids) order = ids;
    if (rows) arrange();
    tell();
  };

  let source = null, again = 0, late = 0;
  const say = (text) => { if (live.textContent !== text) live.textContent = text; };
  const close = () => {
    clearTimeout(again);
    clearTimeout(late);
    late = 0;
    if (source) source.close();
    source = null;
  };
  const open = () => {
    close();
    source = new EventSource(events);
    source.onmessage = (e) => {
      clearTimeout(late);
      late = 0;
      say('Live');
      change(JSON.parse(e.data));
    };
    source.onerror = () => {
      // A browser comes again by itself, unless it was refused.
      if (source.readyState === EventSource.CLOSED) again = setTimeout(open, 10000);
      if (!late) late = setTimeout(() => say('Not live: no answer'), 5000);
    };
  };
  if (events && window.EventSource) {
    document.addEventListener('visibilitychange', () => { if (document.hidden) close(); else open(); });
    if (!document.hidden) open();
    window.addEventListener('pagehide', close);
    window.addEventListener('pageshow', (e) => { if (e.persisted) open(); });
  }

  // What was done is said once, and is not part of a link that is shared.
  const here = new URL(location);
  if (here.searchParams.has('did')) {
    here.searchParams.delete('did');
    history.replaceState(null, '', here);
  }
})();
