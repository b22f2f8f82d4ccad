"""Prepared states of the explorer, each with the one thing to look at."""

from __future__ import annotations

from dataclasses import dataclass, replace

from retnet_viz.trace import edits
from retnet_viz.ui.core.state.page_state import ExplorerState


@dataclass(frozen=True)
class Preset:
    """A state with a name and the sentence that says what can be seen in it."""

    name: str
    point: str
    state: ExplorerState


_BETWEEN = (
    "It was late and very cold, and nobody knew how long it would be before they could go on, for "
    "it had not stopped since they came, and it was not likely to stop before they were gone."
)

# Each point is checked against the shipped model by tests/ui/test_presets.py, which also silences
# the head that is named and changes the word that it reads.
PRESETS = (
    Preset(
        "Near copy",
        "“dog” comes next: head 1 of layer 1 reads each “dog” that came after “and the”.",
        ExplorerState(
            "the cat and the dog, the cat and the dog, the cat and the", layer=1, heads=(1,)
        ),
    ),
    Preset(
        "Far repetition",
        "“V” comes next, as in “Vosko” 55 tokens ago: head 2 of layer 1 reads it there.",
        ExplorerState(
            f"They called him Captain Vosko. {_BETWEEN} “Good morning, Captain",
            layer=1,
            heads=(2,),
        ),
    ),
    Preset(
        "A list",
        "“w” comes next, as in “wolf” after “glass” before: head 1 of layer 1 reads it there.",
        ExplorerState(
            " stone river candle glass wolf stone river candle glass", layer=1, heads=(1,)
        ),
    ),
    Preset(
        "Dialogue",
        "“woman” comes next, not “man”: head 2 of layer 1 reads it, 23 tokens above.",
        ExplorerState(
            '"Where are you going?" asked the old woman.\n"To the sea," said the boy.\n'
            '"And what will you do there?" asked the old',
            layer=1,
            heads=(2,),
        ),
    ),
    Preset(
        "A long story opening",
        "After 200 tokens head 0 has let go of the beginning, which matters little by now.",
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
# These are of a page that changes the pass; their points say what has become of the prediction.
WHAT_IF = (
    Preset(
        "What if: a head is silent",
        "“V” was to come, as in “Vosko” 55 tokens ago: without head 2 of layer 1 it is forgotten.",
        replace(PRESETS[1].state, edits=(edits.silence(layer=1, head=2),)),
    ),
    Preset(
        "What if: a shorter memory",
        "With a half-life of 10 tokens in place of 88, head 2 of layer 1 forgets “Vosko”.",
        replace(PRESETS[1].state, edits=(edits.gamma(half_life=10, layer=1, head=2),)),
    ),
    Preset(
        "What if: the state of another story",
        "It was to go on with “dog”: with the state of the same story of a king it says “king”.",
        ExplorerState(
            "The dog ran to the wood. The dog was hungry, and the",
            mode="recurrent",
            layer=1,
            # "The king ran to the wood. The king was hungry, and", as the shipped model reads it
            edits=(
                edits.swap(
                    start=14,
                    ids=(322, 3462, 1439, 281, 262, 1976, 14, 355, 3462, 306, 1805, 486, 12, 289),
                ),
            ),
        ),
    ),
)
START = ExplorerState(PRESETS[0].state.text, layer=1)
