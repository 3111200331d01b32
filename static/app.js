// Conveniences of the dashboard. Everything works without them; what needs them has the class needs-js and stays hidden
// until they run.
(function () {
  'use strict';
  var doc = document;
  var script = doc.currentScript && doc.currentScript.src;
  doc.documentElement.classList.add('js');

  // The server says times in the browser's zone, which a cookie tells it. A page that was made before it knew is read again, once.
  var zone = window.Intl && Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && zone !== doc.documentElement.dataset.zone && script) {
    var cookie = 'waybill_zone=' + zone;
    var told = function () { return doc.cookie.split('; ').indexOf(cookie) >= 0; };
    if (!told()) {
      var path = new URL('..', script).pathname.replace(/(.)\/$/, '$1');
      doc.cookie = cookie + '; max-age=31536000; samesite=lax; path=' + path + (location.protocol === 'https:' ? '; secure' : '');
      if (told() && 'reread' in doc.documentElement.dataset && zone !== 'UTC') location.reload();
    }
  }

  // Says something to screen readers without moving anything on the page.
  function say(text) {
    var box = doc.getElementById('said');
    if (box) box.textContent = text;
  }

  // A button with data-copy copies that text; one with data-copy-from copies the text of the element with that id.
  function copy(button) {
    var from = button.dataset.copyFrom;
    var text = from ? doc.getElementById(from).textContent : button.dataset.copy;
    var word = button.querySelector('[data-word]');
    function done(label) {
      say(label);
      if (!word) return;
      var before = word.dataset.before || word.textContent;
      word.dataset.before = before;
      word.textContent = label;
      setTimeout(function () { word.textContent = before; }, 2000);
    }
    if (!navigator.clipboard) return done('Select and copy by hand');
    navigator.clipboard.writeText(text).then(function () { done('Copied'); }, function () { done('Not copied'); });
  }

  // Adds an empty row to a list of keys and values.
  function addRow(button) {
    var rows = doc.getElementById(button.dataset.addRow);
    var row = rows.lastElementChild.cloneNode(true);
    var n = rows.children.length + 1;
    row.querySelectorAll('input').forEach(function (input) {
      input.value = '';
      input.setAttribute('aria-label', input.getAttribute('aria-label').replace(/\d+$/, n));
    });
    rows.appendChild(row);
    row.querySelector('input').focus();
  }

  doc.addEventListener('click', function (e) {
    var t = e.target;
    var button = t.closest('button');
    if (button && ('copy' in button.dataset || 'copyFrom' in button.dataset)) copy(button);
    if (button && button.dataset.addRow) addRow(button);
    if (button && button.dataset.peek) {
      var input = doc.getElementById(button.dataset.peek);
      var show = input.type === 'password';
      input.type = show ? 'text' : 'password';
      button.setAttribute('aria-pressed', show);
    }
    // Menus close when something else is clicked.
    doc.querySelectorAll('details.menu[open]').forEach(function (m) {
      if (!m.contains(t)) m.open = false;
    });
  });

  doc.addEventListener('change', function (e) {
    // A checkbox with data-check-all checks or clears every checkbox of its form with that name.
    var name = e.target.dataset.checkAll;
    if (!name) return;
    doc.querySelectorAll('input[type=checkbox][name="' + name + '"]').forEach(function (box) {
      if (box.form === e.target.form) box.checked = e.target.checked;
    });
    picked();
  });

  // Tables that become rows on phones stay tables for screen readers of browsers in which display changes that.
  doc.querySelectorAll('table.stack').forEach(function (t) {
    t.setAttribute('role', 'table');
    t.querySelectorAll('thead, tbody').forEach(function (e) { e.setAttribute('role', 'rowgroup'); });
    t.querySelectorAll('tr').forEach(function (e) { e.setAttribute('role', 'row'); });
    t.querySelectorAll('td').forEach(function (e) { e.setAttribute('role', 'cell'); });
    t.querySelectorAll('th').forEach(function (e) { e.setAttribute('role', e.scope === 'row' ? 'rowheader' : 'columnheader'); });
  });
  var current = doc.querySelector('.nav [aria-current]');
  if (current) current.closest('.nav').scrollLeft = current.offsetLeft - innerWidth / 2;

  // The dialog of Ctrl K: the server answers with what the words lead to, and the arrow keys choose.
  var palette = doc.getElementById('palette');
  var asked = 0;
  function hits() { return [].slice.call(palette.querySelectorAll('.hitrow')); }
  function choose(hit) {
    hits().forEach(function (h) { h.setAttribute('aria-selected', h === hit); });
    palette.querySelector('input').setAttribute('aria-activedescendant', hit ? hit.id : '');
    if (hit) hit.scrollIntoView({ block: 'nearest' });
  }
  function ask(text) {
    var n = ++asked;
    fetch(palette.dataset.from + '?panel=1&q=' + encodeURIComponent(text), { credentials: 'same-origin' }).then(function (r) {
      return r.ok ? r.text() : Promise.reject();
    }).then(function (html) {
      if (n !== asked) return; // a later question was answered meanwhile
      doc.getElementById('palette-hits').innerHTML = html;
      choose(hits()[0]);
      say(hits().length + ' found');
    }, function () { say('The server could not be asked'); });
  }
  function openPalette() {
    if (!palette || !palette.showModal || palette.open) return false;
    palette.showModal();
    var input = palette.querySelector('input');
    input.value = '';
    ask('');
    input.focus();
    return true;
  }
  if (palette) {
    palette.addEventListener('input', function (e) { ask(e.target.value.trim()); });
    palette.addEventListener('keydown', function (e) {
      var all = hits();
      var at = all.findIndex(function (h) { return h.getAttribute('aria-selected') === 'true'; });
      if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
        e.preventDefault();
        choose(all[(at + (e.key === 'ArrowDown' ? 1 : all.length - 1)) % all.length]);
      }
      if (e.key === 'Enter' && all[at]) location.assign(all[at].href);
    });
  }
  doc.addEventListener('click', function (e) {
    if (e.target.tagName === 'DIALOG') e.target.close();
    if (e.ctrlKey || e.metaKey || e.shiftKey) return;
    if (e.target.closest('[data-palette]') && openPalette()) e.preventDefault();
    if (e.target.closest('[data-keys]')) {
      doc.getElementById('keys').showModal();
      e.preventDefault();
    }
  });

  // Rows of a list: j and k move, Enter opens, x selects. A list with an inspector shows the row there.
  function rows() { return [].slice.call(doc.querySelectorAll('main .tbl[data-rows] tbody tr')); }
  function chosen() { return doc.querySelector('main .tbl[data-rows] tr[aria-selected="true"]'); }
  function select(row) {
    if (!row) return;
    rows().forEach(function (r) { r.setAttribute('aria-selected', r === row); });
    row.scrollIntoView({ block: 'nearest' });
    inspect(row);
  }
  function move(by) {
    var all = rows();
    var at = all.indexOf(chosen());
    select(all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + by))]);
  }
  var pending;
  function inspect(row) {
    var split = doc.getElementById('split');
    var link = row.querySelector('[data-panel]');
    if (!split || !link || innerWidth < 1024) return;
    clearTimeout(pending);
    pending = setTimeout(function () {
      fetch(link.dataset.panel, { credentials: 'same-origin' }).then(function (r) {
        return r.ok ? r.text() : Promise.reject();
      }).then(function (html) {
        if (chosen() !== row) return;
        split.classList.add('open');
        var box = doc.getElementById('inspect');
        box.innerHTML = html;
        box.hidden = false;
        box.scrollTop = 0;
        if (window.htmx) htmx.process(box);
        var here = new URL(location.href);
        here.searchParams.set('event', link.dataset.id);
        history.replaceState(null, '', here);
        say(box.querySelector('h2') ? box.querySelector('h2').textContent : '');
      }, function () { location.assign(link.href); });
    }, 60);
  }
  function closeInspector() {
    var split = doc.getElementById('split');
    if (!split || !split.classList.contains('open')) return false;
    split.classList.remove('open');
    doc.getElementById('inspect').hidden = true;
    var here = new URL(location.href);
    here.searchParams.delete('event');
    history.replaceState(null, '', here);
    if (chosen()) chosen().querySelector('a').focus();
    return true;
  }
  doc.addEventListener('click', function (e) {
    if (e.ctrlKey || e.metaKey || e.shiftKey || e.button) return;
    if (e.target.closest('[data-close]') && closeInspector()) e.preventDefault();
    var step = e.target.closest('[data-move]');
    if (step) move(+step.dataset.move);
    var row = e.target.closest('main .tbl[data-rows] tbody tr');
    if (row && innerWidth >= 1024 && !e.target.closest('.above') && doc.getElementById('split')) {
      e.preventDefault();
      select(row);
    }
  });
  // Within the inspector a destination or an attempt is chosen without leaving the list.
  doc.addEventListener('click', function (e) {
    var a = e.target.closest('#inspect a[data-part]');
    if (!a || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    fetch(a.dataset.part, { credentials: 'same-origin' }).then(function (r) { return r.ok ? r.text() : Promise.reject(); }).then(function (html) {
      doc.getElementById('inspect').innerHTML = html;
    }, function () { location.assign(a.href); });
  });

  // Checkboxes: shift selects all between two.
  var last = null;
  doc.addEventListener('click', function (e) {
    var box = e.target;
    if (box.type !== 'checkbox' || !box.name || !box.closest('.tbl')) return;
    if (e.shiftKey && last && last.name === box.name) {
      var all = [].slice.call(doc.querySelectorAll('.tbl input[type=checkbox][name="' + box.name + '"]'));
      var a = all.indexOf(last), b = all.indexOf(box);
      all.slice(Math.min(a, b), Math.max(a, b) + 1).forEach(function (x) { x.checked = box.checked; });
    }
    last = box;
    picked();
  });
  function picked() {
    var n = doc.querySelectorAll('.tbl .check[name]:checked').length;
    var box = doc.querySelector('[data-picked]');
    if (box) box.textContent = n ? n + ' selected' : '';
  }

  // A chart says the figures of the bar under the pointer or with the focus.
  ['pointerover', 'focusin'].forEach(function (type) {
    doc.addEventListener(type, function (e) {
      var bar = e.target.closest && e.target.closest('.bar');
      var box = bar && bar.closest('.card').querySelector('[data-chart-say]');
      if (box) box.textContent = bar.dataset.say;
    });
  });

  var goTo = null;
  doc.addEventListener('keydown', function (e) {
    if (e.key === 'Escape') {
      var menu = doc.querySelector('details.menu[open]');
      if (menu) {
        menu.open = false;
        menu.querySelector('summary').focus();
      } else if (!doc.querySelector('dialog[open]')) closeInspector();
      return;
    }
    if ((e.ctrlKey || e.metaKey) && e.key === 'k') {
      if (openPalette()) e.preventDefault();
      return;
    }
    // Single keys work unless somebody is typing, holds a modifier or has switched them off.
    if (doc.documentElement.dataset.shortcuts === 'off' || e.ctrlKey || e.metaKey || e.altKey || doc.querySelector('dialog[open]') ||
      e.target.closest('input:not([type=checkbox]), textarea, select, [contenteditable]')) return;
    if (goTo) {
      var to = { o: 'overview', e: 'events', d: 'destinations', a: 'alerts' }[e.key];
      var link = to && doc.querySelector('.nav a[data-section="' + to + '"]');
      goTo = null;
      if (link) return location.assign(link.href);
    }
    if (e.key === '/') {
      var search = doc.querySelector('main input[type=search]');
      if (!search) return openPalette() && e.preventDefault();
      e.preventDefault();
      search.focus();
      search.select();
    }
    if (e.key === '?') doc.getElementById('keys').showModal();
    if (e.key === 'g') {
      goTo = true;
      setTimeout(function () { goTo = null; }, 1500);
    }
    if (e.key === 'j') move(1);
    if (e.key === 'k') move(-1);
    if (e.key === 'x' && chosen()) {
      var box = chosen().querySelector('input[type=checkbox]');
      if (box) box.click();
    }
    if (e.key === 'Enter' && chosen() && e.target === doc.body) location.assign(chosen().querySelector('[data-panel]').href);
    if (e.key === 'r') {
      var retry = doc.querySelector('#inspect [data-retry]');
      if (retry) retry.click();
    }
  });

  // Numbers of views come after the page, which does not wait for them.
  function number(n) { return n.toLocaleString('en-US'); }
  var counted = doc.querySelector('[data-counts]');
  if (counted && !doc.hidden) {
    fetch(counted.dataset.counts, { credentials: 'same-origin' }).then(function (r) { return r.ok ? r.json() : {}; }).then(function (all) {
      counted.querySelectorAll('[data-count]').forEach(function (box) {
        var c = all[box.dataset.count];
        if (c) box.textContent = (c.exact ? '' : 'about ') + number(c.count);
      });
    }, function () { /* they are an extra */ });
  }

  // The live line of a list: a stream while the page is in sight, else nothing. Where streams do not get through it asks every
  // ten seconds. Rows are put on top by themselves only when somebody follows, and never under the pointer.
  var live = doc.querySelector('[data-live]');
  if (live && window.EventSource) {
    var arrived = 0, changed = false, stream = null, cursor = 'now', polling = null, timer = null;
    var table = doc.querySelector('.tbl[data-rows]');
    var follow = live.querySelector('[data-follow]');
    var following = function () { return follow.getAttribute('aria-pressed') === 'true'; };
    var busy = function () { return table.matches(':hover') || table.contains(doc.activeElement) || table.querySelector('.check:checked'); };
    var tell = function () {
      var link = live.querySelector('[data-fresh]');
      link.hidden = !arrived;
      live.querySelector('[data-idle]').hidden = !!arrived;
      var text = number(arrived) + (arrived === 1 ? ' new event' : ' new events');
      if (arrived && link.textContent !== text) link.textContent = text;
    };
    // Reads the list anew: rows that are there already say what has become of them, and new ones come on top when asked for.
    var update = function () {
      var put = following() && !busy() && scrollY < 200;
      if (!changed && !(arrived && put)) return;
      changed = false;
      fetch(location.href, { credentials: 'same-origin' }).then(function (r) { return r.ok ? r.text() : Promise.reject(); }).then(function (html) {
        var fresh = new DOMParser().parseFromString(html, 'text/html');
        var body = table.tBodies[0];
        var before = body.firstElementChild;
        fresh.querySelectorAll('.tbl[data-rows] tbody tr').forEach(function (row) {
          var old = doc.getElementById(row.id);
          if (old && old.contains(doc.activeElement)) return;
          if (old) {
            var box = old.querySelector('.check:checked');
            if (box) row.querySelector('.check').checked = true;
            if (old.hasAttribute('aria-selected')) row.setAttribute('aria-selected', old.getAttribute('aria-selected'));
            if (old === before) before = row;
            old.replaceWith(row);
          } else if (put && !busy()) {
            body.insertBefore(row, before);
          }
        });
        if (put) arrived = 0;
        tell();
      }, function () { /* the next time may work */ });
    };
    var later = function () {
      if (timer) return;
      timer = setTimeout(function () { timer = null; update(); }, 1000);
    };
    var poll = function () {
      fetch(live.dataset.new + (live.dataset.new.indexOf('?') < 0 ? '?' : '&') + 'after=' + encodeURIComponent(cursor), { credentials: 'same-origin' })
        .then(function (r) { return r.ok ? r.json() : Promise.reject(); }).then(function (n) {
          cursor = n.cursor;
          arrived += n.count;
          changed = true;
          tell();
          later();
        }, function () { /* the next time may work */ });
    };
    var listen = function () {
      if (stream || polling || doc.hidden) return;
      stream = new EventSource(live.dataset.live);
      stream.addEventListener('new', function (e) {
        if (JSON.parse(e.data).matches) arrived++;
        tell();
        later();
      });
      stream.addEventListener('changed', function (e) {
        if (!doc.getElementById('row-' + JSON.parse(e.data).id)) return;
        changed = true;
        later();
      });
      stream.addEventListener('reload', function () { changed = true; later(); });
      stream.onerror = function () {
        if (stream.readyState !== EventSource.CLOSED) return; // the browser connects again by itself
        stream = null;
        polling = setInterval(function () { if (!doc.hidden) poll(); }, 10000);
      };
    };
    var rest = function () {
      if (stream) stream.close();
      stream = null;
    };
    doc.addEventListener('visibilitychange', function () { if (doc.hidden) rest(); else listen(); });
    addEventListener('pagehide', rest);
    follow.addEventListener('click', function () {
      follow.setAttribute('aria-pressed', !following());
      later();
    });
    listen();
  }

  // Over a histogram a time is chosen by dragging, or from bar to bar with the arrow keys and Shift.
  var brushed = doc.querySelector('[data-brush]');
  if (brushed) {
    var svg = brushed.querySelector('svg[role=group]');
    var brush = svg.querySelector('.brush');
    var bars = [].slice.call(svg.querySelectorAll('a.bar'));
    var anchor = -1;
    var barAt = function (e) {
      var r = svg.getBoundingClientRect();
      return Math.max(0, Math.min(bars.length - 1, Math.floor((e.clientX - r.left) / r.width * bars.length)));
    };
    var draw = function (a, b) {
      var step = svg.viewBox.baseVal.width / bars.length;
      brush.removeAttribute('hidden');
      brush.setAttribute('x', Math.min(a, b) * step);
      brush.setAttribute('width', (Math.abs(a - b) + 1) * step);
      var say = brushed.querySelector('[data-chart-say]');
      say.textContent = bars[Math.min(a, b)].dataset.say.split(' to ')[0] + ' to ' + bars[Math.max(a, b)].dataset.say.split(' to ')[1].split(':').slice(0, 2).join(':');
    };
    var pick = function (a, b) {
      var to = new URL(bars[Math.min(a, b)].href.baseVal || bars[Math.min(a, b)].getAttribute('href'), location.href);
      var end = new URL(bars[Math.max(a, b)].href.baseVal || bars[Math.max(a, b)].getAttribute('href'), location.href);
      to.searchParams.set('until', end.searchParams.get('until'));
      location.assign(to);
    };
    svg.addEventListener('pointerdown', function (e) {
      if (e.button) return;
      anchor = barAt(e);
      e.preventDefault();
    });
    addEventListener('pointermove', function (e) { if (anchor >= 0) draw(anchor, barAt(e)); });
    addEventListener('pointerup', function (e) {
      if (anchor < 0) return;
      var from = anchor;
      anchor = -1;
      pick(from, barAt(e));
    });
    svg.addEventListener('click', function (e) { if (e.detail) e.preventDefault(); });
    var at = bars.length - 1, from = -1;
    if (bars[at]) bars[at].setAttribute('tabindex', 0);
    svg.addEventListener('keydown', function (e) {
      var by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
      if (by) {
        e.preventDefault();
        if (e.shiftKey && from < 0) from = at;
        if (!e.shiftKey) from = -1;
        bars[at].setAttribute('tabindex', -1);
        at = Math.max(0, Math.min(bars.length - 1, at + by));
        bars[at].setAttribute('tabindex', 0);
        bars[at].focus();
        draw(from < 0 ? at : from, at);
      }
      if (e.key === 'Enter' && from >= 0) {
        e.preventDefault();
        pick(from, at);
      }
    });
  }

  // What has data-refresh is read anew every so many seconds, while the page is in sight and nobody is at work in it.
  function refresh() {
    var part = doc.querySelector('[data-refresh]');
    if (!part || doc.hidden || part.contains(doc.activeElement) || part.querySelector('details[open]') || part.matches(':hover')) return;
    fetch(location.href, { credentials: 'same-origin', headers: { Accept: 'text/html' } }).then(function (r) {
      return r.ok && !r.redirected ? r.text() : Promise.reject();
    }).then(function (html) {
      var fresh = new DOMParser().parseFromString(html, 'text/html').getElementById(part.id);
      if (fresh && part.isConnected) part.replaceWith(fresh);
    }, function () { /* the next time may work */ });
  }
  var refreshed = doc.querySelector('[data-refresh]');
  if (refreshed) setInterval(refresh, refreshed.dataset.refresh * 1000);

  // A form with data-guard asks before it is left with changes that were not saved.
  var guarded = null;
  doc.addEventListener('input', function (e) {
    if (e.target.form && 'guard' in e.target.form.dataset) guarded = e.target.form;
  });
  doc.addEventListener('submit', function () { guarded = null; });
  window.addEventListener('beforeunload', function (e) {
    if (guarded) e.preventDefault();
  });
})();
