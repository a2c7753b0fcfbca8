// SPDX-License-Identifier: MIT
// For browsers that know no modules: all that they get is a sentence. Written for such browsers.
document.addEventListener('DOMContentLoaded', function () {
  var word = document.getElementById('word');
  var detail = document.getElementById('detail');
  if (!word || !detail) return;
  word.textContent = 'This browser is too old';
  detail.textContent = 'Talking needs a newer one: Chrome or Edge 94, Firefox 114, Safari 15.4, or later.';
});
