// Each SDK as a program uses it without an address, and with the provider's own. The second must not leave.
const question = "What is the capital of France?";
const messages = [{ role: "user", content: question }];

export async function checks(load) {
  const { default: OpenAI } = await load("openai");
  const { default: Anthropic } = await load("@anthropic-ai/sdk");
  const { GoogleGenAI } = await load("@google/genai");
  const { generateText } = await load("ai");
  const { createOpenAI } = await load("@ai-sdk/openai");
  const { createAnthropic } = await load("@ai-sdk/anthropic");

  const ways = {
    openai: async (baseURL) => {
      const client = new OpenAI({ baseURL, maxRetries: 0 });
      return (await client.chat.completions.create({ model: "m", messages })).choices[0].message.content;
    },
    "@anthropic-ai/sdk": async (baseURL) => {
      const client = new Anthropic({ baseURL, maxRetries: 0 });
      return (await client.messages.create({ model: "m", max_tokens: 99, messages })).content[0].text;
    },
    "@google/genai": async (baseUrl) => {
      const client = new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY, httpOptions: baseUrl ? { baseUrl } : undefined });
      return (await client.models.generateContent({ model: "gemini-3", contents: question })).text;
    },
    "@ai-sdk/openai": async (baseURL) =>
      (await generateText({ model: createOpenAI({ baseURL })("m"), prompt: question, maxRetries: 0 })).text,
    "@ai-sdk/anthropic": async (baseURL) =>
      (await generateText({ model: createAnthropic({ baseURL })("m"), prompt: question, maxRetries: 0 })).text,
  };
  const own = {
    openai: "https://api.openai.com/v1",
    "@anthropic-ai/sdk": "https://api.anthropic.com",
    "@google/genai": "https://generativelanguage.googleapis.com",
    "@ai-sdk/openai": "https://api.openai.com/v1",
    "@ai-sdk/anthropic": "https://api.anthropic.com/v1",
  };
  const why = (error) => {
    const said = [];
    for (let each = error; each; each = each.cause) said.push(String(each.message));
    return said.some((text) => text.includes("not sealed")) ? "not sealed" : `another error: ${said.join(": ")}`;
  };

  const found = {};
  for (const [name, ask] of Object.entries(ways)) {
    found[name] = () => ask(undefined).catch(why);
    found[`${name}, at the provider`] = () => ask(own[name]).catch(why);
  }
  return found;
}
