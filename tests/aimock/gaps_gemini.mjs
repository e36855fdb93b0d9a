// Gemini's models, its count of tokens, and embeddings of several texts.

import { json } from "./bodies.mjs";

export const mounts = { "/v1beta/models": models };

const model = { name: "models/gemini-3", displayName: "Gemini", version: "3" };

async function models(request, below) {
  if (below.endsWith(":countTokens")) {
    const { contents } = await json(request);
    return { totalTokens: JSON.stringify(contents).length };
  }
  if (below.endsWith(":batchEmbedContents")) {
    const { requests } = await json(request);
    return { embeddings: requests.map(({ content }) => ({ values: [content.parts[0].text.length, 0.5] })) };
  }
  if (request.method !== "GET" || below.includes(":")) return undefined;
  return below === "/" ? { models: [model] } : model;
}
