// A request's body, in the forms that it comes in.

export async function json(request) {
  return JSON.parse(await read(request));
}

export async function form(request) {
  const headers = { "content-type": request.headers["content-type"] };
  return new Response(await read(request), { headers }).formData();
}

export async function read(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}
