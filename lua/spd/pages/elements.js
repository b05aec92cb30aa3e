// ---- making elements: text reaches the page as text only ----------------------------------------

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// key: by which the button is found, and has the focus again, after it was made anew.
function button(className, key, pressed, action, ...children) {
  const made = element("button", className, ...children);
  made.type = "button";
  made.dataset.key = key;
  made.setAttribute("aria-pressed", pressed);
  made.addEventListener("click", action);
  return made;
}

function fill(id, ...children) { document.getElementById(id).replaceChildren(...children); }

const MARKS = { " ": "·", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽" };

function markOf(character) {
  const code = character.codePointAt(0);
  return MARKS[character] || "‹" + code.toString(16).toUpperCase().padStart(2, "0") + "›";
}

// Text, such as that of a token, with a mark for every character that could not be seen.
function visibleText(text) {
  const parts = [];
  let plain = "";
  for (const character of text) {
    if (/[\s\p{Cc}\p{Cf}\p{Zs}]/u.test(character) && character !== "\u200d") {
      parts.push(plain, element("span", "mark", markOf(character)));
      plain = "";
    } else {
      plain += character;
    }
  }
  parts.push(plain);
  return text === "" ? [element("span", "mark", "∅")] : parts.filter((part) => part !== "");
}

function bar(fraction) {
  const inner = element("i");
  inner.style.width = 100 * fraction + "%";
  return element("span", "bar", inner);
}

// ---- numbers ------------------------------------------------------------------------------------

function significant(x) { return x === 0 ? "0" : x < 0.001 ? x.toExponential(1) : String(Number(x.toPrecision(3))); }
function percent(x) { return significant(100 * x) + " %"; }
function thousandths(x) { return (x / 1000).toFixed(3); }
function grouped(x) { return x.toLocaleString("en"); }

window.addEventListener("error", (event) => {
  const failure = document.getElementById("failure");
  failure.textContent = "This page failed: " + event.message;
  failure.hidden = false;
});
