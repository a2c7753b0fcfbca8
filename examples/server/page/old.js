// SPDX-License-Identifier: MIT
// For browsers that cannot read the page's modules: all that they get is a sentence. Written for such browsers.
addEventListener('load', function () {
  var word = document.getElementById('word');
  var detail = document.getElementById('detail');
  if (!word || !detail || document.documentElement.hasAttribute('data-started')) return; // main.js does that
  word.textContent = 'This page did not start';
  detail.textContent =
    'Reload it. If that does not help, use a newer browser: Chrome or Edge 94, Firefox 114, Safari 15.4, or later.';
});
