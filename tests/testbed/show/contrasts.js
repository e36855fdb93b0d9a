// The contrast of each text on the page with its background, by WCAG 2's formula: [text, ratio].
() => {
  const luminance = (colour) => {
    const [red, green, blue] = colour.match(/[\d.]+/g).slice(0, 3).map((part) => {
      const value = part / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const background = (element) => {
    for (let behind = element; behind; behind = behind.parentElement) {
      const colour = getComputedStyle(behind).backgroundColor;
      if (!/, 0\)$/.test(colour)) return colour;
    }
    throw new Error("nothing is behind it");
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const text = texts.currentNode, element = text.parentElement;
    if (!text.data.trim() || !element.checkVisibility({ visibilityProperty: true })) continue;
    const both = [luminance(getComputedStyle(element).color), luminance(background(element))];
    found.push([text.data.trim().slice(0, 60), (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05)]);
  }
  return found;
}
