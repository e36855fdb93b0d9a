"use strict";
const of = (id) => document.getElementById(id);
const logs = { client: of("of-client"), relay: of("of-relay"), bridge: of("of-bridge") };
const state = of("state"), found = of("found"), button = of("ask").querySelector("button");
const relayProcess = of("relay-process").textContent, relayKnows = of("relay-knows").textContent;
const NOTHING = { client: "", relay: "nothing came", bridge: "nothing reached it" };
const STOPPED = "The live view has stopped.";
let running = false, began = 0, relay = "", ending = null, answer = null, opened = null, raw = null, read = null, readAs = "";

function element(name, className, ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

// Adds an entry, and stays at the end of the list if that was in view.
function entry(party, className, ...content) {
  follow(party, () => logs[party].firstElementChild.append(element("li", className, ...content)));
}

function follow(party, change) {
  const log = logs[party];
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  change();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// One bar for each message: when it passed, and how large it was (each doubling above 64 bytes is as high as the last).
const strip = of("strip"), LEAST_SECONDS = 2;
let passed = [];

function draw(said, way) {
  passed.push({ at: Math.max(0, said.at - began), size: said.size, way });
  const seconds = Math.max(LEAST_SECONDS, ...passed.map((each) => each.at)) * 1.02;
  strip.replaceChildren(...passed.map(({ at, size, way }) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = Math.min(100, Math.max(4, 9 * Math.log2(size / 64)));
    for (const [name, value] of Object.entries({ x: 1000 * at / seconds, y: 100 - height, width: 4, height, class: way }))
      bar.setAttribute(name, value);
    return bar;
  }));
  of("strip-about").textContent = `${count(passed.length, "message")} in ${seconds.toFixed(1)} seconds: what sizes and times tell`;
}

const label = (text) => element("b", "", text);
const text = (shown) => shown ? shown.textContent : "";
const count = (number, one) => number.toLocaleString("en") + " " + one + (number === 1 ? "" : "s");
const since = (said) => element("time", "", Math.max(0, said.at - began).toFixed(3) + " s");

function more(summary, text) {
  return element("details", "", element("summary", "", summary), element("pre", "", text));
}

function bytes(said) {
  const shown = element("code", "");
  const pairs = said.hex.match(/../g) || [];
  pairs.forEach((pair, place) => shown.append(said.changed.includes(place) ? element("mark", "", pair) : pair, " "));
  if (pairs.length < said.size) shown.append(element("i", "", "… " + count(said.size - pairs.length, "byte") + " more"));
  return shown;
}

function message(said, way) {
  const head = element("b", "", since(said), " ", way, ", ", count(said.size, "byte"));
  if (said.deed) head.append(" ", element("strong", "deed", said.deed));
  entry("relay", said.deed ? said.deed.replace(/ /g, "-") : "", head, bytes(said));
}

function begin(said) {
  for (const log of Object.values(logs)) log.firstElementChild.replaceChildren();
  strip.replaceChildren(); of("strip-about").textContent = ""; passed = [];
  began = said.at; relay = said.relay; found.textContent = ""; ending = answer = opened = raw = read = null;
  document.querySelector("main").dataset.relay = relay;
  of("relay-process").textContent = { honest: relayProcess, reading: "a plain gateway; needs no key" }[relay]
    || "the testbed’s hostile one; has no key either";
  of("relay-knows").textContent = relay === "reading" ? "reads everything" : relayKnows;
  state.className = ""; state.textContent = "Asking…"; running = button.disabled = true;
  entry("client", "", label("asks"), element("span", "words", said.prompt));
}

// What the state says in the end, once everything is known: whole, caught, or lost.
const ENDS = {
  whole: () => relay === "reading" ? ["bad", "Lost: the response came, and the relay has read all of it."]
    : text(answer) === text(opened) ? ["good", "The response is whole, and what the bridge sent."] : ["bad", "Lost: the client has another response than the bridge sent."],
  error: () => !answer ? ["caught", "Caught: the client has an error, and no response."]
    : text(opened).startsWith(text(answer)) ? ["caught", "Caught: the client has an error, and before it only what the bridge sent."]
      : ["bad", "Lost: the client has an error, and text that the bridge did not send."],
};

function over() {
  const [className, words] = (ENDS[ending] || (() => ["bad", "The page itself failed; its terminal says why."]))();
  state.className = className; state.textContent = words;
  if (answer) state.append(element("span", "unseen", " It got: " + answer.textContent));
  for (const [party, log] of Object.entries(logs))
    if (!log.querySelector("li")) entry(party, "nothing", party === "bridge" && relay === "reading" ? "there is none" : NOTHING[party]);
  running = button.disabled = false;
}

function searched(said) {
  const words = count(said.words, "word") + " of question and response";
  if (!said.words || !said.size) return;
  follow("relay", () => {
    found.className = said.found.length ? "bad" : "good";
    found.textContent = `${words}, looked for in all ${count(said.size, "byte")} that it had: ` +
      (said.found.length ? "found " + said.found.join(", ") : "none found");
  });
}

const told = {
  page: {
    ready() { button.disabled = running; if (state.textContent === STOPPED) state.textContent = ""; },
  },
  client: {
    begin,
    request(said) { entry("client", "", label("sends"), said.line, more("its headers", said.headers.join("\n"))); },
    piece(said) {
      if (!answer) { answer = element("span", "words"); entry("client", "", label("gets"), answer); }
      follow("client", () => answer.append(said.text));
    },
    whole() { ending = "whole"; entry("client", ...(relay === "reading" ? ["", "the response, for all that it can tell"] : ["good", "the response is whole"])); },
    error(said) { ending = "error"; entry("client", "caught", label("gets an error"), said.text); },
    over,
  },
  relay: {
    envelope(said) {
      const fields = Object.entries(said.fields).map(([name, value]) => name + "  " + value).join("\n");
      entry("relay", "", element("b", "", since(said), " reads the envelope, ", count(said.size, "byte")), element("pre", "", fields));
    },
    up(said) { message(said, "to the bridge"); draw(said, "up"); },
    down(said) { message(said, "to the client"); draw(said, "down"); },
    read(said) {
      if (read && readAs === said.label) return follow("relay", () => read.append(said.text));
      read = element("pre", "", said.text); readAs = said.label;
      entry("relay", "read", element("b", "", since(said), " ", said.label), read);
    },
    note(said) { entry("relay", "", element("b", "", since(said), " ", said.label), element("pre", "", said.text)); },
    searched,
  },
  bridge: {
    request(said) {
      entry("bridge", "", label("sends to the provider"), said.line);
      entry("bridge", "", label("with these headers"), element("pre", "", said.headers.join("\n")));
      entry("bridge", "", label("and"), element("pre", "", said.text));
    },
    answer(said) {
      if (!opened) {
        opened = element("span", "words"); raw = more("as the provider sent it", "");
        entry("bridge", "", label("gets"), opened, raw);
      }
      follow("bridge", () => { opened.append(said.words); raw.lastElementChild.append(said.text); });
    },
    gone() { entry("bridge", "", "ends the provider’s work, since its client is gone"); },
  },
};

const events = new EventSource("events");
events.onmessage = (message) => {
  const said = JSON.parse(message.data);
  told[said.party][said.what](said);
};
events.onerror = () => { failed(STOPPED); button.disabled = true; };

function failed(why) { state.className = "bad"; state.textContent = why; button.disabled = false; }

of("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  if (!form.get("prompt").trim()) { state.className = ""; state.textContent = "Write something to ask."; return; }
  button.disabled = true;
  const sent = await fetch("ask", { method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: form.get("prompt"), relay: form.get("relay"), shape: form.get("shape") }) }).catch(() => null);
  if (!sent) failed("The live view does not answer.");
  else if (!sent.ok) failed("That was not taken.");
});
