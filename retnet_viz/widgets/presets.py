"""Prepared states of the explorer, each with the one thing to look at."""

from __future__ import annotations

from dataclasses import dataclass

from retnet_viz.widgets.state import ExplorerState


@dataclass(frozen=True)
class Preset:
    """A state with a name and the sentence that says what can be seen in it."""

    name: str
    point: str
    state: ExplorerState


_FILLER = (
    " The road went over the hill and down to the river, where an old mill stood among the trees. "
    "Nobody had lived there for many years, and the wheel did not turn. "
)

PRESETS = (
    Preset(
        "Near copy",
        "A pattern repeats at once: the strip shows which earlier copies the last token reads.",
        ExplorerState("the cat and the dog, the cat and the dog, the cat and the", token=None),
    ),
    Preset(
        "Far repetition",
        "A name returns after 40 tokens: head 0 has forgotten it, the slower heads have not.",
        ExplorerState(f"Marilla opened the door.{_FILLER}Then Marilla", scale="log"),
    ),
    Preset(
        "A list",
        "Commas set the beat: rows of the weights at each comma look alike.",
        ExplorerState(
            "He bought apples, pears, plums, bread, butter, cheese, eggs, milk, salt, and",
            scale="arcsinh",
        ),
    ),
    Preset(
        "Dialogue",
        "Quotation marks open and close: select one and see which others it reads.",
        ExplorerState(
            '"Where are you going?" asked the old man.\n"To the sea," said the boy.\n'
            '"And what will you do there?" asked the old man.\n"',
            scale="arcsinh",
        ),
    ),
    Preset(
        "A long story opening",
        "Over 150 tokens the heads part: the fast ones keep a narrow band, the slow ones a plain.",
        ExplorerState(
            "Once upon a time there lived a king who had three sons. The eldest was strong, and "
            "the second was clever, but the youngest was thought to be a fool, because he gave his "
            "bread to the birds and talked to the trees.\nOne day the king fell ill, and no doctor "
            "in the land could make him well. Then an old woman came to the castle and said: "
            '"Far in the north, beyond the great forest, there is a well, and whoever drinks of '
            'its water is healed."\nSo the eldest son took the best horse and rode away. He had '
            "not gone far when he met a dwarf by the side of the road, who asked him where he was "
            'going so fast. "What is that to you?" said the prince, and he rode on. But the dwarf '
            "was angry, and wished him ill, and soon the prince came to",
            mode="chunkwise",
            chunk_size=32,
            scale="log",
        ),
    ),
)
START = PRESETS[0].state
