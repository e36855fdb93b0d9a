export async function checks(load, endpoint, token) {
  const { default: Anthropic } = await load("@anthropic-ai/sdk");
  const client = new Anthropic({ baseURL: endpoint, apiKey: token, maxRetries: 0 });
  const asking = (text = "What is the capital of France?") => ({
    model: "m",
    max_tokens: 99,
    messages: [{ role: "user", content: text }],
  });
  const weather = { name: "get_weather", input_schema: { type: "object" } };

  return {
    messages: async () => (await client.messages.create(asking())).content[0].text,
    "the streaming helper": async () => {
      let text = "";
      const stream = client.messages.stream(asking()).on("text", (piece) => (text += piece));
      await stream.finalMessage();
      return text;
    },
    tools: async () => {
      const answer = await client.messages.create({ ...asking("How is the weather?"), tools: [weather] });
      const { name, input } = answer.content.find((block) => block.type === "tool_use");
      return { name, input };
    },
    "the provider's errors": async () => {
      const error = await client.messages.create(asking("slow down")).catch((error) => error);
      return [error.status, error.headers.get("retry-after")];
    },
    "a cut stream is an error": async () =>
      client.messages.stream(asking("break off")).finalMessage().then(() => "whole", () => "an error"),
  };
}
