// Anthropic's files. OpenAI's, at the same path, are aimock's.

import { form } from "./bodies.mjs";

export const mounts = { "/v1/files": files };

const kept = new Map();

async function files(request, below) {
  if (!request.headers["anthropic-version"]) return undefined;
  const id = below.slice(1);
  if (request.method === "POST") return keep((await form(request)).get("file"));
  if (!id) return { data: [...kept.values()], has_more: false, first_id: null, last_id: null };
  if (request.method === "DELETE" && kept.delete(id)) return { id, type: "file_deleted" };
  return kept.get(id);
}

function keep(file) {
  const id = `file_${kept.size + 1}`;
  const shared = { id, type: "file", created_at: "2026-01-01T00:00:00Z", downloadable: false };
  kept.set(id, { ...shared, filename: file.name, mime_type: file.type, size_bytes: file.size });
  return kept.get(id);
}
