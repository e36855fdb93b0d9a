export async function checks(load, endpoint, token) {
  const { default: OpenAI, toFile } = await load("openai");
  const client = new OpenAI({ baseURL: `${endpoint}/v1`, apiKey: token, maxRetries: 0 });
  const ask = (text = "What is the capital of France?") => [{ role: "user", content: text }];
  const weather = { type: "function", function: { name: "get_weather", parameters: { type: "object" } } };
  const chat = (more) => client.chat.completions.create({ model: "m", messages: ask(), ...more });

  return {
    chat: async () => (await chat()).choices[0].message.content,
    "chat, streamed": async () => {
      let text = "";
      for await (const chunk of await chat({ stream: true })) text += chunk.choices[0]?.delta.content ?? "";
      return text;
    },
    tools: async () => {
      const answer = await chat({ messages: ask("How is the weather?"), tools: [weather] });
      return answer.choices[0].message.tool_calls[0].function;
    },
    responses: async () => (await client.responses.create({ model: "m", input: "The capital?" })).output_text,
    embeddings: async () => (await client.embeddings.create({ model: "e", input: ["a", "b"] })).data.length,
    models: async () => (await client.models.list()).data.length > 0,
    "audio, transcribed": async () => {
      const file = await toFile(Buffer.alloc(300_000), "a.wav");
      return (await client.audio.transcriptions.create({ model: "whisper-1", file })).text;
    },
    "the provider's errors": async () => {
      const error = await chat({ messages: ask("slow down") }).catch((error) => error);
      return [error.status, error.headers.get("retry-after")];
    },
    "a cut stream is an error": async () => {
      const stream = await chat({ messages: ask("break off"), stream: true });
      try {
        for await (const _ of stream);
      } catch (error) {
        return "an error";
      }
    },
  };
}
