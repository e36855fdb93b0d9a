// What SDKs ask for and aimock does not have, or has in OpenAI's shape only: one file for each provider.

import * as anthropic from "./gaps_anthropic.mjs";
import * as gemini from "./gaps_gemini.mjs";
import * as mistral from "./gaps_mistral.mjs";

export const everybody = { ...anthropic.mounts, ...gemini.mounts };
export const mistrals = mistral.mounts;

/** Mounts functions from (request, path below) to the answer: JSON, bytes, a Response; undefined leaves it to aimock. */
export function mountAll(mock, mounts) {
  for (const [path, answerTo] of Object.entries(mounts)) {
    mock.mount(path, {
      async handleRequest(request, response, below) {
        const answer = await answerTo(request, below);
        if (answer === undefined) return false;
        await send(answer instanceof Response ? answer : asResponse(answer), response);
        return true;
      },
    });
  }
}

function asResponse(answer) {
  return answer instanceof Uint8Array ? new Response(answer) : Response.json(answer);
}

async function send(answer, response) {
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  for await (const piece of answer.body) response.write(piece);
  response.end();
}
