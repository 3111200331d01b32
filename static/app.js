// Conveniences of the dashboard. Everything works without them; what needs them has the class needs-js and stays hidden
// until they run.
(function () {
  'use strict';
  var doc = document;
  doc.documentElement.classList.add('js');

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
  });

  doc.addEventListener('keydown', function (e) {
    if (e.key === 'Escape') {
      var menu = doc.querySelector('details.menu[open]');
      if (menu) {
        menu.open = false;
        menu.querySelector('summary').focus();
      }
      return;
    }
    // "/" goes to the page's search field, or else to the one in the navigation, unless somebody is typing, holds a
    // modifier or has switched shortcuts off.
    if (e.key !== '/' || doc.documentElement.dataset.shortcuts === 'off' || e.ctrlKey || e.metaKey || e.altKey || e.target.closest('input, textarea, select, [contenteditable]')) return;
    var search = doc.querySelector('main input[type=search]') || doc.querySelector('input[type=search]');
    if (search) {
      e.preventDefault();
      search.focus();
      search.select();
    }
  });

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
