// What keeps a page from being used without a mouse or a screen, a sentence each.
() => {
  const wrong = [];
  const seen = new Set();
  for (const { id } of document.querySelectorAll("[id]")) {
    if (seen.has(id)) wrong.push(`two elements have the id ${id}`);
    seen.add(id);
  }
  for (const attribute of ["for", "aria-labelledby", "aria-describedby"]) {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      const id = element.getAttribute(attribute);
      if (!seen.has(id)) wrong.push(`${attribute} names ${id}, which is not there`);
    }
  }
  for (const control of document.querySelectorAll("input:not([type=hidden]), select, meter")) {
    if (!control.labels?.length && !control.ariaLabel) wrong.push(`${control.name} has no label`);
  }
  for (const control of document.querySelectorAll("button, a, summary, th")) {
    if (!(control.ariaLabel ?? control.textContent).trim()) wrong.push(`${control.outerHTML} has no name`);
  }
  const headings = [...document.querySelectorAll("h1, h2, h3")].map((each) => Number(each.tagName[1]));
  if (headings.filter((level) => level === 1).length !== 1) wrong.push("there is not one main heading");
  if (headings.some((level, index) => level > (headings[index - 1] ?? 0) + 1)) wrong.push(`headings skip a level: ${headings}`);
  if (document.querySelectorAll("main").length !== 1) wrong.push("there is not one main part");
  if (!document.documentElement.lang) wrong.push("the page has no language");
  for (const box of document.querySelectorAll("*")) {
    const scrolls = ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
    if (scrolls && box.tabIndex < 0) wrong.push(`a keyboard cannot scroll ${box.outerHTML.slice(0, 60)}`);
  }
  return wrong;
}
