// What needs a script: buttons that copy, and the filter. Without it the page says the same.
"use strict";
(() => {
  const SHOWN_MILLISECONDS = 2500;
  const told = document.createElement("p");
  told.className = "unseen";
  told.setAttribute("role", "status");
  document.body.append(told);

  // Browsers give no clipboard to a page that came over plain HTTP from another machine.
  const copySelected = (block, text) => {
    const give = (event) => {
      event.clipboardData.setData("text/plain", text);
      event.preventDefault();
    };
    getSelection().selectAllChildren(block);
    document.addEventListener("copy", give);
    const isCopied = document.execCommand("copy");
    document.removeEventListener("copy", give);
    if (isCopied) getSelection().removeAllRanges();
    return isCopied;
  };

  const copy = async (block) => {
    try {
      await navigator.clipboard.writeText(block.textContent);
      return true;
    } catch {
      return copySelected(block, block.textContent);
    }
  };

  // What a block is, for those who do not see what a button stands next to.
  const named = (block) => {
    let heading = block.previousElementSibling;
    while (heading && !/^H[1-6]$/.test(heading.tagName)) heading = heading.previousElementSibling;
    const host = block.closest("details")?.querySelector("summary b")?.textContent;
    return [host, heading?.textContent].filter(Boolean).join(", ");
  };

  for (const block of document.querySelectorAll("pre")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${named(block)}`);
    let clearing;
    button.addEventListener("click", async () => {
      const isCopied = await copy(block);
      button.textContent = isCopied ? "Copied" : "Selected";
      told.textContent = isCopied ? "Copied" : "Selected; press Ctrl+C to copy";
      clearTimeout(clearing);
      clearing = setTimeout(() => {
        button.textContent = "Copy";
        told.textContent = "";
      }, SHOWN_MILLISECONDS);
    });
    const both = document.createElement("div");
    both.className = "block";
    block.replaceWith(both);
    both.append(block, button);
  }

  const filter = document.querySelector(".filter");
  if (!filter) return;
  const name = filter.querySelector("[type=search]");
  const problems = filter.querySelector("[type=checkbox]");
  const list = document.querySelector(".hosts");
  const hosts = [...list.children];
  const apply = () => {
    const wanted = name.value.trim().toLowerCase();
    let count = 0;
    for (const host of hosts) {
      const isNamed = host.querySelector("summary b").textContent.toLowerCase().includes(wanted);
      const isAsked = !problems?.checked || host.querySelector("[data-attention]") !== null;
      host.hidden = !(isNamed && isAsked);
      if (!host.hidden) count += 1;
    }
    list.hidden = count === 0;
    filter.querySelector("output").textContent = `${count} of ${hosts.length} shown`;
  };
  filter.addEventListener("input", apply);
  filter.hidden = false;
  // A browser that goes back to the page fills in again what was typed.
  apply();
})();
