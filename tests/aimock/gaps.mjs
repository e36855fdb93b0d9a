// What SDKs ask for and aimock does not have: Anthropic's files; counting and embedding several texts at Gemini; Mistral's OCR.
//
// A mount's handler says whether it answered; if not, aimock does.

const mounts = {
  "/v1/files": anthropicFiles,
  "/v1/ocr": ocr,
  "/v1beta/models": gemini,
};

export function fillGaps(mock) {
  for (const [path, answerTo] of Object.entries(mounts)) {
    mock.mount(path, {
      async handleRequest(request, response, below) {
        const answer = await answerTo(request, below);
        if (answer === undefined) return false;
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
        return true;
      },
    });
  }
}

const files = new Map();

async function anthropicFiles(request, below) {
  if (!request.headers["anthropic-version"]) return undefined; // OpenAI's, which aimock keeps
  const id = below.slice(1);
  if (request.method === "POST") return keep(await uploaded(request));
  if (!id) return { data: [...files.values()], has_more: false, first_id: null, last_id: null };
  if (request.method === "DELETE" && files.delete(id)) return { id, type: "file_deleted" };
  return files.get(id);
}

function keep(file) {
  const id = `file_${files.size + 1}`;
  const shared = { id, type: "file", created_at: "2026-01-01T00:00:00Z", downloadable: false };
  files.set(id, { ...shared, filename: file.name, mime_type: file.type, size_bytes: file.size });
  return files.get(id);
}

async function ocr(request) {
  const { document, model } = await json(request);
  const page = { index: 0, markdown: `Read: ${document.document_url}`, images: [], dimensions: null };
  return { pages: [page], model, usage_info: { pages_processed: 1 } };
}

async function gemini(request, below) {
  if (below.endsWith(":countTokens")) {
    const { contents } = await json(request);
    return { totalTokens: JSON.stringify(contents).length };
  }
  if (below.endsWith(":batchEmbedContents")) {
    const { requests } = await json(request);
    return { embeddings: requests.map(({ content }) => ({ values: [content.parts[0].text.length, 0.5] })) };
  }
  if (request.method === "GET" && !below.includes(":")) {
    const one = { name: "models/gemini-3", displayName: "Gemini", version: "3" };
    return below === "/" ? { models: [one] } : one;
  }
  return undefined;
}

async function json(request) {
  return JSON.parse(await read(request));
}

async function uploaded(request) {
  const headers = { "content-type": request.headers["content-type"] };
  return (await new Response(await read(request), { headers }).formData()).get("file");
}

async function read(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}
