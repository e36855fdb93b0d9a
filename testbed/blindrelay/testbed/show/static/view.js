"use strict";
const lists = { client: of("of-client"), relay: of("of-relay"), bridge: of("of-bridge") };
const state = of("state");
let began = 0, answer = null, answered = null;

function of(id) { return document.getElementById(id); }

function entry(party, label, text, kind) {
  const item = document.createElement("li");
  if (label) { const name = document.createElement("b"); name.textContent = label; item.append(name); }
  const body = document.createElement(kind === "bytes" ? "code" : "span");
  if (kind && kind !== "bytes") body.className = kind;
  body.append(text);
  item.append(body);
  lists[party].append(item);
  return body;
}

function bytes(hex, changed, size) {
  const shown = document.createDocumentFragment();
  for (let at = 0; at * 2 < hex.length; at += 1) {
    const pair = hex.slice(at * 2, at * 2 + 2);
    if (changed.includes(at)) {
      const mark = document.createElement("mark");
      mark.textContent = pair;
      shown.append(mark, " ");
    } else shown.append(pair + " ");
  }
  if (hex.length / 2 < size) shown.append("…");
  return shown;
}

function since() { return ((performance.now() - began) / 1000).toFixed(3) + " s"; }

const told = {
  client: {
    begin(said) {
      for (const list of Object.values(lists)) list.replaceChildren();
      began = performance.now(); answer = null; answered = null;
      state.textContent = "Asking…"; state.className = "";
      entry("client", "asks", said.prompt);
      entry("client", "to", "POST " + said.url);
    },
    piece(said) {
      if (answer === null) answer = entry("client", "gets", "");
      answer.append(said.text);
    },
    whole() { entry("client", "", "the answer is whole", "good"); state.textContent = "The answer is whole."; state.className = "good"; },
    error(said) { entry("client", "gets an error", said.text, "error"); state.textContent = "The client has an error."; state.className = "error"; },
    over() { of("ask").querySelector("button").disabled = false; },
  },
  relay: {
    envelope(said) { entry("relay", since() + "  envelope, readable: exchange, bridge, key, time", bytes(said.hex, [], 0), "bytes"); },
    up(said) { entry("relay", since() + "  to the bridge, " + said.size.toLocaleString("en") + " bytes", bytes(said.hex, said.changed, said.size), "bytes"); },
    down(said) { entry("relay", since() + "  to the client, " + said.size.toLocaleString("en") + " bytes" + (said.changed.length ? ", altered" : ""), bytes(said.hex, said.changed, said.size), "bytes"); },
    note(said) { entry("relay", since(), said.text); },
  },
  bridge: {
    request(said) {
      entry("bridge", "sends to the provider", said.line);
      entry("bridge", "with these headers, besides those of the connection", said.headers.join("\n"));
      entry("bridge", "and", said.text);
    },
    answer(said) {
      if (answered === null) answered = entry("bridge", "gets", "");
      answered.append(said.text);
    },
    gone() { entry("bridge", "", "the provider's work was ended"); },
  },
};

const events = new EventSource("events");
events.onmessage = (message) => {
  const said = JSON.parse(message.data);
  told[said.party][said.what](said);
};

events.onerror = () => { failed("The live view has stopped; start it again, and open its new address."); };

function failed(text) { of("ask").querySelector("button").disabled = false; state.textContent = text; state.className = "error"; }

of("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target), button = event.target.querySelector("button");
  if (!form.get("prompt").trim()) { state.textContent = "Write something to ask."; state.className = ""; return; }
  button.disabled = true;
  const sent = await fetch("ask", { method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: form.get("prompt"), trick: form.get("trick") }) }).catch(() => null);
  if (sent === null) failed("The live view does not answer.");
  else if (!sent.ok) failed("That was not taken.");
});
