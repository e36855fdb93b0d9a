// What Mistral answers in another shape than OpenAI: its SDK is strict.

import { form, json } from "./bodies.mjs";

export const mounts = {
  "/v1/audio/transcriptions": transcriptions,
  "/v1/embeddings": embeddings,
  "/v1/files": files,
  "/v1/models": () => ({ object: "list", data: [{ type: "base", id: "mistral-large", capabilities: {} }] }),
  "/v1/ocr": ocr,
};

const usage = { prompt_tokens: 1, completion_tokens: 0, total_tokens: 1 };

async function transcriptions(request) {
  const fields = await form(request);
  const text = `${fields.get("file").size} bytes of sound`;
  return { model: fields.get("model"), text, language: null, segments: [], usage };
}

async function embeddings(request) {
  const { model, input } = await json(request);
  const data = input.map((text, index) => ({ object: "embedding", embedding: [text.length, 0.5], index }));
  return { id: "1", object: "list", model, usage, data };
}

const kept = new Map();

async function files(request, below) {
  const [, id, content] = below.split("/");
  if (content) return kept.get(id);
  const file = (await form(request)).get("file");
  const bytes = new Uint8Array(await file.arrayBuffer());
  const made = "00000000-0000-4000-8000-" + String(kept.size + 1).padStart(12, "0");
  kept.set(made, bytes);
  const shared = { id: made, object: "file", bytes: bytes.length, created_at: 0, filename: file.name };
  return { ...shared, purpose: "batch", sample_type: "batch_request", source: "upload" };
}

async function ocr(request) {
  const { document, model } = await json(request);
  const page = { index: 0, markdown: `Read: ${document.document_url}`, images: [], dimensions: null };
  return { pages: [page], model, usage_info: { pages_processed: 1 } };
}
