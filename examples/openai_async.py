"""Two chat completions at once, asynchronously."""

import asyncio

from openai import AsyncOpenAI

from blindrelay.client import SealedTransport


async def main() -> None:
    sealed = SealedTransport.from_env()
    async with AsyncOpenAI(
        api_key="the-bridge-has-it",
        base_url=sealed.base_url("openai"),
        http_client=sealed.async_httpx2_client(),
    ) as client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(
                    model="gpt-5.5", messages=[{"role": "user", "content": question}]
                )
                for question in ("Name a colour.", "Name a fruit.")
            )
        )
    for answer in answers:
        print(answer.choices[0].message.content)


asyncio.run(main())
