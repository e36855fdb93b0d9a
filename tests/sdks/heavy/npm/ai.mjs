export async function checks(load, endpoint, token) {
  const { generateText, streamText, embed } = await load("ai");
  const { createOpenAI } = await load("@ai-sdk/openai");
  const { createAnthropic } = await load("@ai-sdk/anthropic");
  const openai = createOpenAI({ baseURL: `${endpoint}/v1`, apiKey: token });
  const anthropic = createAnthropic({ baseURL: `${endpoint}/anthropic/v1`, apiKey: token });
  const prompt = "What is the capital of France?";
  const streamed = async (model) => {
    let text = "";
    for await (const piece of streamText({ model, prompt }).textStream) text += piece;
    return text;
  };

  return {
    "OpenAI's responses": async () => (await generateText({ model: openai("m"), prompt })).text,
    "OpenAI's responses, streamed": () => streamed(openai("m")),
    "OpenAI's chat": async () => (await generateText({ model: openai.chat("m"), prompt })).text,
    "OpenAI's chat, streamed": () => streamed(openai.chat("m")),
    "OpenAI's embeddings": async () => {
      const { embedding } = await embed({ model: openai.textEmbeddingModel("e"), value: "one" });
      return embedding.length > 0;
    },
    "Anthropic's messages": async () => (await generateText({ model: anthropic("m"), prompt })).text,
    "Anthropic's messages, streamed": () => streamed(anthropic("m")),
  };
}
