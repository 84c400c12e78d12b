"""The demo from beginning to end: two applications, three servers, and what befalls them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice

from demo.account import Account
from demo.app import Answer, App, Door
from demo.corpus import Passage, passages
from demo.langchain_app import LangChainApp
from demo.llamaindex_app import LlamaIndexApp
from demo.questions import QUESTIONS, Question
from demo.scenes import SCENES, Scene
from demo.score import Result, Score, wrong_vectors
from demo.servers import Fleet

_MOMENT = 0.02
"""Seconds after which something happens to a server at work: less than it takes to answer."""


def play(questions_per_scene: int) -> Score:
    """Play all scenes, print the account, and return the score."""
    with Fleet() as fleet, asyncio.Runner() as runner:
        apps: tuple[App, ...] = (LangChainApp(fleet), LlamaIndexApp(fleet))
        show = _Show(fleet, apps, runner)
        show.account.introduce()
        with show.account.footer:
            show.index()
            questions = iter(QUESTIONS)
            for scene in SCENES:
                show.play(scene, tuple(islice(questions, questions_per_scene)))
        runner.run(_close(apps))
        show.account.summary(show.score)
        return show.score


async def _close(apps: Sequence[App]) -> None:
    for app in apps:
        for router in app.routers.values():
            await router.aclose()


class _Show:
    def __init__(self, fleet: Fleet, apps: Sequence[App], runner: asyncio.Runner) -> None:
        self.account = Account(apps, fleet)
        self.score = Score()
        self._fleet = fleet
        self._apps = apps
        self._runner = runner

    def index(self) -> None:
        """Let both applications index the corpus while alpha fails, and check every vector."""
        langchain, llamaindex = self._apps
        alpha, corpus = self._fleet.alpha, passages()
        self.account.scene(
            "LangChain indexes, and alpha is killed (SIGKILL) at work",
            "Batches that alpha has answered are kept; the others go to bravo.",
        )
        self._index(langchain, corpus, alpha.kill)
        alpha.start()
        self.account.scene(
            "LlamaIndex indexes, and alpha answers with too few vectors (and status 200)",
            "An answer of the wrong size is never used; the batch goes to bravo.",
        )
        self._index(llamaindex, corpus, lambda: alpha.misbehave("wrong_count", by=-1))
        alpha.behave()

    def _index(self, app: App, corpus: Sequence[Passage], act: Callable[[], None]) -> None:
        timer = threading.Timer(5 * _MOMENT, act)
        timer.start()
        app.index(corpus)
        timer.join()
        for stored in app.stored():
            wrong = wrong_vectors(stored, self._fleet.charlie.url)
            self.score.wrong_vectors += wrong + abs(len(corpus) - len(stored.texts))
            self.account.note(
                f"{len(stored.texts)} passages by the {stored.model}; "
                f"{wrong} vectors differ from what charlie computes by itself"
            )
        self.account.news()

    def play(self, scene: Scene, questions: Sequence[Question]) -> None:
        """Play a scene: every application answers every question."""
        if scene.after_cooldown:
            self._sit_out_cooldowns()
        self.account.scene(scene.title, scene.meaning)
        asked = [(app, question) for question in questions for app in self._apps]
        if scene.door in {Door.ASYNC, Door.ASTREAM}:
            self._runner.run(self._ask_at_once(scene, asked))
        else:
            scene.act(self._fleet)
            for app, question in asked:
                self._record(scene, app, question, _outcome(app, scene.door, question))
        self.account.news()

    async def _ask_at_once(self, scene: Scene, asked: Sequence[tuple[App, Question]]) -> None:
        if not scene.in_flight:
            scene.act(self._fleet)
        doors = [app.aask if scene.door is Door.ASYNC else app.astream for app, _ in asked]
        answers = [door(question.text) for door, (_, question) in zip(doors, asked, strict=True)]
        everything = asyncio.gather(*answers, return_exceptions=True)
        if scene.in_flight:
            await asyncio.sleep(_MOMENT)
            await asyncio.to_thread(scene.act, self._fleet)
        for (app, question), outcome in zip(asked, await everything, strict=True):
            self._record(scene, app, question, outcome)

    def _record(
        self, scene: Scene, app: App, question: Question, outcome: Answer | BaseException
    ) -> None:
        result = Result.of(app.name, question, outcome)
        self.score.results.append(result)
        self.account.result(scene, result)

    def _sit_out_cooldowns(self) -> None:
        routers = [router for app in self._apps for router in app.routers.values()]
        targets = [target for router in routers for target in router.status().targets]
        time.sleep(max(target.cooldown_remaining for target in targets))


def _outcome(app: App, door: Door, question: Question) -> Answer | Exception:
    ask = app.ask if door is Door.SYNC else app.stream
    try:
        return ask(question.text)
    except Exception as error:  # noqa: BLE001 - whatever it is, the question is lost by it
        return error
