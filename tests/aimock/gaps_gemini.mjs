// Gemini's models, its count of tokens, embeddings of several texts, and the versions of its API beside v1beta.

import { json, read } from "./bodies.mjs";

export const mounts = { "/v1/models": asBeta, "/v1alpha/models": asBeta, "/v1beta/models": models };

async function asBeta(request, below) {
  if (!below.includes(":")) return undefined; // OpenAI's models
  const { search } = new URL(request.url, "http://any");
  const url = `http://${request.headers.host}/v1beta/models${below}${search}`;
  const headers = { "content-type": "application/json" };
  return fetch(url, { method: request.method, headers, body: await read(request) });
}

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
