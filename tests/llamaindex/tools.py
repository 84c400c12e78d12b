"""A tool, an object to predict, and prompts that make the test server's model use them."""

from __future__ import annotations

from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

PROMPT = PromptTemplate("Invent a song about {topic}")


class Song(BaseModel):
    """A song."""

    title: str = ""
    verses: int = 0


class Weather:
    """A tool that counts how often it is executed."""

    def __init__(self) -> None:
        self.executions = 0

    def weather(self, city: str) -> str:
        """Tell the weather of a city."""
        self.executions += 1
        return f"sunny in {city}"

    @property
    def tool(self) -> FunctionTool:
        return FunctionTool.from_defaults(self.weather)
