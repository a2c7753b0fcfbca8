# SPDX-License-Identifier: MIT
"""What holds for the whole page: names and roles, sizes on a phone, contrast."""

CONTRAST = """
(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const weights = [0.2126, 0.7152, 0.0722];
  const light = (c) => weights.reduce((sum, weight, n) => sum + weight * linear(c[n] / 255), 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = numbers(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest(':disabled, noscript, .unseen')) continue;
    const [a, b] = [light(numbers(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${walker.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return poor;
})()
"""

SMALL = """
[...document.querySelectorAll('button, input, select, summary')]
  .filter((e) => e.checkVisibility() && !e.closest('.unseen'))
  .map((e) => {
    const label = e.type === 'checkbox' ? e.labels[0] : null;
    const size = Math.max(e.getBoundingClientRect().height, label ? label.getBoundingClientRect().height : 0);
    const font = parseFloat(getComputedStyle(e).fontSize);
    return {name: e.id || e.textContent, size, font, field: e.matches('input, select')};
  })
  .filter((e) => e.size < 39.5 || (e.field && e.font < 16))
"""


def check_tree(tree):
    """`tree`: Tab.tree(), while talking."""
    for role, name, properties in tree:
        if role in ("button", "link", "textbox", "checkbox", "combobox", "slider", "meter", "heading", "region", "log"):
            assert name.strip(), f"a {role} has no name: {properties}"
    names = {(role, name) for role, name, _ in tree}
    for wanted in (
        ("heading", "Talk to Moshi"), ("button", "End"), ("button", "Mute"), ("meter", "Your level"),
        ("meter", "The model's level"), ("status", "State of the conversation"), ("region", "Transcript"),
        ("log", "New lines of the transcript"), ("main", ""), ("banner", ""), ("contentinfo", ""),
    ):  # fmt: skip
        assert wanted in names, (wanted, sorted(names))
    properties = {(role, name): more for role, name, more in tree}
    assert properties["log", "New lines of the transcript"]["live"] == "polite"
    assert properties["status", "State of the conversation"]["live"] == "polite"
    assert properties["button", "Mute"]["pressed"] in ("false", False)
    assert sum(role == "heading" and more.get("level") == 1 for role, _, more in tree) == 1


def check_phone(tab):
    """Nothing to scroll sideways, nothing too small for a thumb, no field that makes a phone zoom in."""
    width = tab.run("document.documentElement.clientWidth")
    assert tab.run("document.documentElement.scrollWidth") <= width, tab.run("document.documentElement.scrollWidth")
    outside = tab.run(
        "[...document.body.querySelectorAll('*')].filter((e) => e.checkVisibility() && !e.closest('.unseen, .skip')"
        f" && e.getBoundingClientRect().right > {width} + 1).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert not outside, outside
    small = tab.run(SMALL)
    assert not small, small
    content = tab.run("document.querySelector('meta[name=viewport]').content")
    assert "user-scalable" not in content and "maximum-scale" not in content, content


def check_contrast(tab, scheme):
    """WCAG 2, AA: 4.5 to 1 for text."""
    poor = tab.run(CONTRAST)
    assert not poor, (scheme, poor)
