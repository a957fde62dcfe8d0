// Everything here improves a page that also works without it.

// Search summaries are fetched, which a browser refuses for pages opened as files.
if (window.location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

document.addEventListener("DOMContentLoaded", () => {
  // Captions are italic paragraphs in the notebook, so that they show in JupyterLab too.
  for (const em of document.querySelectorAll(".bd-content p > em:only-child")) {
    if (/^Figure \d/.test(em.textContent)) {
      em.parentElement.classList.add("seglab-caption");
    }
  }

  // Feedback to a quiz's choice says in words whether it is right; color repeats it.
  for (const details of document.querySelectorAll("details.quiz")) {
    for (const part of details.querySelectorAll(":scope > p")) {
      const text = part.textContent;
      if (text.startsWith("Right:")) part.classList.add("quiz-right");
      if (text.startsWith("Not quite:")) part.classList.add("quiz-wrong");
    }
  }

  // Tables scroll inside a box of their own, and whatever scrolls can be reached by Tab.
  for (const table of document.querySelectorAll(".bd-content table")) {
    if (table.closest(".seglab-scroll, .pst-scrollable-table-container")) continue;
    const box = document.createElement("div");
    box.className = "seglab-scroll";
    table.replaceWith(box);
    box.append(table);
  }
  const reach = () => {
    const boxes = ".bd-content div.math, .bd-content .seglab-scroll";
    for (const box of document.querySelectorAll(boxes)) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  reach();
  window.addEventListener("resize", reach);
  window.MathJax?.startup?.promise?.then(reach);
});
