"""What models write, and the action that is read out of it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.replies import parse_action

ROOMS = ["Go to Room 1", "Go to Room 12", "Explore Room 3", "Pick up stuffed_toy", "Done!"]

UNDERSTOOD = {
    "bare": "Go to Room 12",
    "labelled": "Action: Go to Room 12",
    "after reasoning": "Reasoning: the cup is there.\nAction: Go to Room 12",
    "on one line": "Reasoning: the cup is there. Action: Go to Room 12",
    "before an explanation": "Action: Go to Room 12\n\nThere the cup should be.",
    "on the next line": "Action:\n\n  Go to Room 12\n",
    "bold label": "**Action:** Go to Room 12",
    "bold label, colon outside": "**Action**: Go to Room 12",
    "bold line": "**Action: Go to Room 12**",
    "bold action": "Action: **Go to Room 12**",
    "underscores": "__Action:__ _Go to Room 12_",
    "italic": "*Action:* Go to Room 12",
    "heading": "### Reasoning\nNone.\n\n### Action\nGo to Room 12",
    "heading with a colon": "## Action:\nGo to Room 12",
    "backticks": "Action: `Go to Room 12`",
    "label in backticks": "`Action:` Go to Room 12",
    "code block": "Action:\n```\nGo to Room 12\n```",
    "named code block": "Action:\n```text\nGo to Room 12\n```\nThat is all.",
    "code block on one line": "Action: ```Go to Room 12```",
    "bullet": "- Reasoning: none\n- Action: Go to Room 12",
    "bullet before the action": "Action:\n- Go to Room 12",
    "quotes": 'Action: "Go to Room 12"',
    "single quotes": "Action: 'Go to Room 12'.",
    "curly quotes": "Action: “Go to Room 12”",
    "brackets": "Action: [Go to Room 12]",
    "case": "ACTION: GO TO ROOM 12",
    "spaces": "action :   go  to\troom 12  ",
    "no-break space": "Action: Go to Room\u00a012",
    "full stop": "Action: Go to Room 12.",
    "full stop in bold": "**Action:** **Go to Room 12.**",
    "numbered label": "Action 3: Go to Room 12",
    "numbered label with a sign": "Action #3: Go to Room 12",
    "numbered action": "Action: 2. Go to Room 12",
    "numbered action in brackets": "Action: (2) Go to Room 12",
    "final": "Final Action: Go to Room 12",
    "chosen": "**Chosen action:** Go to Room 12",
    "full-width colon": "Action：Go to Room 12",
    "JSON": '{"reasoning": "none", "action": "Go to Room 12"}',
    "JSON with more after it": '{"action": "Go to Room 12", "confidence": 0.9}',
    "JSON in a block": '```json\n{\n  "action": "Go to Room 12"\n}\n```',
    "thought": "<think>Action: Done! No...</think>Action: Go to Room 12",
    "thought whose beginning the template wrote": "Hm. Action: Done!</think>\n\nGo to Room 12",
    "other thought": "<thinking>\nDone!\n</thinking>\n**Action:** Go to Room 12",
    "the last of several": "Action: Done!\nWait, no.\nAction: Go to Room 12",
    "the last is empty": "Action: Go to Room 12\nAction:",
    "Windows line ends": "Reasoning: none\r\nAction: Go to Room 12\r\nDone",
}


@pytest.mark.parametrize("form", UNDERSTOOD)
def test_understood(form):
    assert parse_action(UNDERSTOOD[form], ROOMS) == "Go to Room 12"


@pytest.mark.parametrize(
    "written", ["Done!", "Action: done", "Action: **Done.**", "Action: Done!."]
)
def test_punctuation_of_the_action_itself_does_not_matter(written):
    assert parse_action(written, ROOMS) == "Done!"


def test_markdown_does_not_eat_underscores_within():
    assert parse_action("_Action:_ pick up stuffed_toy", ROOMS) == "Pick up stuffed_toy"


REFUSED = {
    "another room": ("Action: Go to Room 2", "Go to Room 2"),
    "a part": ("Action: Go to Room", "Go to Room"),
    "two": ("Action: Go to Room 1 or Go to Room 12", "Go to Room 1 or Go to Room 12"),
    "two in quotes": ('Action: "Done!", "Go to Room 1"', '"Done!", "Go to Room 1"'),
    "with a comment": ("Action: Go to Room 1 (the cup)", "Go to Room 1 (the cup)"),
    "a misspelling": ("Action: Go to Rom 1", "Go to Rom 1"),
    "another spelling": ("Action: Pick up stuffed toy", "Pick up stuffed toy"),
    "only a number": ("Action: 2", "2"),
    "in markdown": ("**Action:** `fly`", "fly"),
    "mentioned only": ("I would Go to Room 1 now.", "I would Go to Room 1 now."),
    "a list of options": ("Go to Room 1\nGo to Room 12", "Go to Room 1\nGo to Room 12"),
    "plural": ("Actions: Done!", "Actions: Done!"),
    "another word": ("Reaction: Done!", "Reaction: Done!"),
    "an earlier one was good": ("Action: Done!\nAction: fly", "fly"),
    "nothing": ("", ""),
    "only a thought": ("<think>Action: Done!</think>", ""),
}


@pytest.mark.parametrize("form", REFUSED)
def test_not_understood_and_passed_on_as_written(form):
    raw, action = REFUSED[form]
    assert parse_action(raw, ROOMS) == action
    assert action not in ROOMS


def test_of_actions_that_differ_little_the_exact_one_is_taken():
    actions = ["look", "Look", "look!", "LOOK?"]
    for action in actions:
        assert parse_action(f"Action: {action}", actions) == action
    assert parse_action("Action: lOOk", actions) == "lOOk"  # could be either of two
    assert parse_action("Action: look.", actions) == "look."


def test_a_number_is_part_of_an_action_where_the_world_says_so():
    actions = ["1. e4", "2. e4"]
    assert parse_action("Action: 2. E4", actions) == "2. e4"
    assert parse_action("Action: 3. e4", actions) == "3. e4"
    assert parse_action("Action: e4", actions) == "e4"


CUT = {
    "in the reasoning": ("Reasoning: I think that", None),
    "in the label": ("Reasoning: none\nActi", None),
    "after the label": ("Reasoning: none\nAction:", None),
    "after the label and a line break": ("Reasoning: none\n**Action:**\n", None),
    "in the action": ("Action: Go to Room 1", None),
    "after the line of the action": ("Action: Go to Room 1\n", "Go to Room 1"),
    "in the explanation": ("Action: Go to Room 1\nThere I will fi", "Go to Room 1"),
    "in a second action": ("Action: Go to Room 1\nNo.\nAction: Go to Room 12", None),
    "after a second label": ("Action: Go to Room 1\nNo.\nAction:", None),
    "after a wrong action": ("Action: fly\nI beli", "fly"),
    "in a thought": ("<think>Action: Done!\nor rather", None),
    "in a second thought": ("Action: Done!\n<think>or rather", None),
    "with the whole but no label": ("Done!\n", None),
    "nothing said": ("", None),
}


@pytest.mark.parametrize("where", CUT)
def test_a_reply_that_is_cut_off_has_an_action_only_if_that_is_complete(where):
    raw, action = CUT[where]
    assert parse_action(raw, ROOMS, cut=True) == action


ANY_TEXT = {
    "a line": ("Action: ls -la ..", "ls -la .."),
    "one sign": ("Action: ?", "?"),
    "case and spaces are kept": ("Action: SELECT  Id\nThat is all.", "SELECT  Id"),
    "quotes are kept": ('Action: "yes"', '"yes"'),
    "backticks": ("Action: `ls -la`", "ls -la"),
    "inner backticks are kept": ("Action: echo `pwd` `date`", "echo `pwd` `date`"),
    "a block": ("Action:\n```sql\nSELECT 1\n  FROM t\n```\nDone.", "SELECT 1\n  FROM t"),
    "no label": ("  show tables \n", "show tables"),
}  # fmt: skip


@pytest.mark.parametrize("form", ANY_TEXT)
def test_where_any_text_is_an_action_it_is_kept_as_written(form):
    raw, action = ANY_TEXT[form]
    assert parse_action(raw, []) == action


def test_a_block_that_is_cut_off_is_no_action():
    assert parse_action("Action:\n```sql\nSELECT 1\n", [], cut=True) is None
    assert parse_action("Action:\n```sql\nSELECT 1\n```", [], cut=True) == "SELECT 1"


texts = st.text(alphabet=st.sampled_from("aA 1.:!*_`\"'\n-#{}<>/Action: think"), max_size=60)


@given(texts, st.booleans())
def test_no_text_breaks_the_parser(raw, cut):
    action = parse_action(raw, ROOMS, cut=cut)
    assert isinstance(action, str) or (cut and action is None)
    if cut and "action" not in raw.casefold():
        assert action is None


@given(texts)
def test_an_admissible_action_is_never_made_of_other_letters(raw):
    action = parse_action(raw, ["a1", "A 1", "aa"])
    if action in ("a1", "A 1", "aa"):
        assert "".join(action.casefold().split()) in "".join(raw.casefold().split())


@given(st.lists(st.text(alphabet="abB .!", min_size=1, max_size=5).map(str.strip)), st.data())
def test_an_action_repeated_word_for_word_is_itself(actions, data):
    actions = [action for action in actions if action] or ["a"]
    action = data.draw(st.sampled_from(actions))
    assert parse_action(f"Reasoning: none\nAction: {action}\n", actions) == action


def test_long_replies_are_read_fast():
    begin = time.monotonic()
    for filler in ("\n", "-", "*", "_", " ", "action ", "Action: ", "<think>", "`", '"'):
        parse_action(filler * 20_000, ROOMS)
    assert time.monotonic() - begin < 5
