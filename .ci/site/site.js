// Dark or light, and a search over the headings of all pages (INDEX, from search.js).
document.getElementById("page-theme").onclick = () => {
  const root = document.documentElement;
  const now = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
};
const found = document.getElementById("pages-found"), tree = document.getElementById("page-tree");
document.getElementById("find-page").oninput = (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  tree.hidden = words.length > 0;
  found.replaceChildren();
  if (!words.length) return;
  for (const [title, heading, href] of INDEX.filter((row) => words.every((word) => (row[0] + " " + row[1]).toLowerCase().includes(word))).slice(0, 25)) {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = up + href;
    link.textContent = heading === title ? title : title + ": " + heading;
    item.append(link);
    found.append(item);
  }
  if (!found.children.length) found.textContent = "Nothing found.";
};
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "center" });
