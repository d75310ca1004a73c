"""Byte-level BPE trained here, and tokenizers of folders: ids, bytes, errors."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from models.model_folder import check_tokenizer
from models.tokenizer import BEGIN, END, PAD, Tokenizer, train

CORPUS = [f"cup {i} ? go to room {i % 7}\nhere größer\n" for i in range(300)]
REPLY = "<|reply|>"
TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}<|reply|>{% endfor %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizers") / "trained"
    train(CORPUS, path, vocab_size=400, special_tokens=[REPLY], chat_template=TEMPLATE)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder):
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory):
    """A folder as those of Llama 2: spaces are U+2581, what is not known falls back to bytes."""
    from tokenizers import AddedToken, decoders, models, normalizers
    from tokenizers import Tokenizer as Backend

    path = tmp_path_factory.mktemp("sentencepiece")
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["\u2581", "g", "o", "go", "\u2581go"]
    backend = Backend(
        models.BPE(
            {piece: i for i, piece in enumerate(pieces)},
            [("g", "o"), ("\u2581", "go")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", left=1),
        ]
    )
    backend.add_special_tokens([AddedToken(name, special=True) for name in pieces[:3]])
    backend.add_tokens([AddedToken("[room]", special=False)])
    backend.save(str(path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


@given(text=st.text().filter(lambda text: "<|" not in text))
def test_any_text_without_special_tokens_comes_back(tokenizer, text):
    [tokens] = tokenizer.encode([text])
    assert tokens[0] == 0 and tokenizer.decode(tokens) == text
    assert tokenizer.encode([text], special=False) == [tokens[1:]]


@given(tokens=st.lists(st.integers(0, 399), max_size=10))
def test_text_of_any_tokens_is_that_of_transformers(tokenizer, tokens):
    """Tokens that end within a character too."""
    expected = tokenizer.hf.decode(tokens, skip_special_tokens=True)
    assert tokenizer.decode(tokens) == expected


def test_special_tokens_have_the_first_ids_and_are_never_cut_up(tokenizer):
    assert tokenizer.hf.convert_tokens_to_ids([BEGIN, END, PAD, REPLY]) == [0, 1, 2, 3]
    assert tokenizer.end_token == 1 and tokenizer.hf.pad_token_id == 2
    [tokens] = tokenizer.encode([f"cup{REPLY}go{END}"])
    assert tokens[0] == 0 and 3 in tokens and tokens[-1] == 1
    assert tokenizer.decode(tokens) == "cupgo"


def test_words_of_the_corpus_become_single_tokens(tokenizer):
    [tokens] = tokenizer.encode(["here größer\n"], special=False)
    assert len(tokens) <= 4
    assert tokenizer.vocab_size <= 400 and len(tokenizer.token_bytes) == tokenizer.vocab_size
    assert {bytes([byte]) for byte in range(256)} <= set(tokenizer.token_bytes)


def test_the_folder_holds_what_transformers_needs(folder, tokenizer):
    """The file is a plain tokenizer.json, and a model's config.json beside it changes nothing."""
    from tokenizers import Tokenizer as Backend

    assert sorted(path.name for path in folder.iterdir()) == [
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    assert backend.encode(CORPUS[5]).ids == tokenizer.encode([CORPUS[5]])[0]
    check_tokenizer(folder, tokenizer.vocab_size)
    with pytest.raises(ValueError, match=f"ids go up to {tokenizer.vocab_size - 1}"):
        check_tokenizer(folder, tokenizer.vocab_size - 1)


def test_a_llama_config_beside_it_changes_nothing(folder, tokenizer, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 400}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.encode(CORPUS[:9]) == tokenizer.encode(CORPUS[:9])
    assert loaded.token_bytes == tokenizer.token_bytes
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded.hf) is type(theirs) and str(loaded.hf) == str(theirs)
    assert loaded.encode(CORPUS[:9]) == theirs(CORPUS[:9])["input_ids"]


@pytest.mark.parametrize("wrong", ["7", None, 1.5])
def test_ids_that_are_no_numbers_are_named(folder, tmp_path, wrong):
    values = json.loads((folder / "tokenizer.json").read_text())
    values["model"]["vocab"]["a"] = wrong
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"tokenizer.json: not a tokenizer's .* id {wrong!r}, exp"):
        check_tokenizer(tmp_path, 400)


def test_half_a_surrogate_pair_is_named(tokenizer):
    with pytest.raises(ValueError, match=r"text 'cup \\ud83d'...: '\\ud83d' at 4 is half of a"):
        tokenizer.encode(["cup", "cup \ud83d"])


def test_training_is_deterministic(folder, tmp_path):
    train(iter(CORPUS), tmp_path / "x", vocab_size=400, special_tokens=[REPLY])
    assert (tmp_path / "x/tokenizer.json").read_text() == (folder / "tokenizer.json").read_text()


def test_chat_templates_are_saved_and_used(tokenizer):
    text = tokenizer.chat([{"role": "user", "content": "cup 3"}])
    assert text == f"{BEGIN}cup 3{REPLY}"
    [tokens] = tokenizer.encode([text], special=False)
    assert tokens[0] == 0 and tokens[-1] == 3 and 0 not in tokens[1:]


def test_sentencepiece_tokens_stand_for_their_bytes(sentencepiece):
    """The leading space of a reply is kept: `Action:` and then ` go`."""
    tokenizer = Tokenizer.load(sentencepiece)
    [tokens] = tokenizer.encode(["go go é"], special=False)
    assert tokenizer.bytes_of(tokens) == " go go é".encode()
    assert tokenizer.hf.decode(tokens) == "go go é"
    assert tokenizer.bytes_of([*tokens, tokenizer.end_token]) == " go go é".encode()
    [room] = tokenizer.hf.convert_tokens_to_ids(["[room]"])
    assert tokenizer.bytes_of([room, tokenizer.vocab_size + 5]) == b"[room]"
    assert not tokenizer.has_chat_template
    with pytest.raises(ValueError, match="has no chat template"):
        tokenizer.chat([{"role": "user", "content": "go"}])


def test_tokenizers_of_other_kinds_have_no_bytes(tmp_path):
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models

    backend = Backend(models.WordPiece({"[UNK]": 0, "go": 1}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    backend.save(str(tmp_path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode(["go"], special=False) == [[1]] and tokenizer.encode([]) == []
    with pytest.raises(ValueError, match=r"decodes by \['WordPiece'\], expected ByteLevel or"):
        tokenizer.decode([1])


def test_a_vocabulary_beyond_the_embedding_is_refused(folder, tokenizer):
    size = tokenizer.vocab_size
    assert Tokenizer.load(folder, vocab_size=size).vocab_size == size
    with pytest.raises(
        ValueError, match=rf"trained: token ids go up to {size - 1}, expected below"
    ):
        Tokenizer.load(folder, vocab_size=size - 1)


def test_folders_without_a_tokenizer_are_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="empty: holds no tokenizer"):
        Tokenizer.load(tmp_path / "empty")
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:100])
    with pytest.raises(ValueError, match="not a tokenizer that can be read"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(texts=[]), "texts are empty"),
        (dict(texts=["", ""]), "texts are empty"),
        (dict(vocab_size=258), "vocab_size is 258, expected at least 259: 256 bytes and 3"),
        (dict(special_tokens=["<a>", "<a>"]), "expected none twice"),
        (dict(special_tokens=[END]), "expected none twice"),
        (dict(special_tokens=[""]), "none empty"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        train(**{"texts": CORPUS, "folder": tmp_path / "new", "vocab_size": 300, **arguments})
    assert not any(tmp_path.iterdir())


def test_a_full_folder_is_left_alone(tmp_path):
    (tmp_path / "kept").write_text("")
    with pytest.raises(FileExistsError, match="expected a new or an empty folder"):
        train(CORPUS, tmp_path, vocab_size=300)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
