/* What is wider than its place, and so scrolls, can be reached and scrolled by keyboard. */
document.addEventListener("DOMContentLoaded", () => {
  const article = document.querySelector("article");
  if (!article) return;
  const mark = () => {
    for (const box of article.querySelectorAll("pre, table, .math, mjx-container, .output")) {
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  new ResizeObserver(mark).observe(article); // it grows when formulas are set or a fold opens
  document.fonts.ready.then(mark); // letters of another font are wider, and no box grows
});
