"""Token to token id and back, and finding the token a person meant.

A tokenizer spells its tokens in its own way: `Ġstrawberry` in byte-level tokenizers, `▁strawberry` in SentencePiece's,
`##berry` in WordPiece's. That spelling is the *piece*; what it stands for is the token's *text*, and its exact *bytes*.

The floors inside, lowest first:

    spelling    pieces <-> bytes
    entries     piece <-> id, read from tokenizer.json, under the ids that the library gives
    index       the same in a file, derived once, where one token is found without reading the others
    words       Vocabulary: a token by id, by text, by piece, by bytes; the tokenizers library only to split text
    matching    which tokens two vocabularies share
    settings    what the small files beside a tokenizer say, and change of it: class, switches, added tokens
    ordinary    which tokenizers are bounded in time and growth, whatever the text
    cuts        the expressions by which text is cut, and who uses which
    languages   the lists of languages that translators have tokens for
    classes     what is known of the classes that tokenizers are loaded by
    merges      merges that a file leaves out
    describe    pieces and merges of a class, described as tokenizer.json would
    splitter    what splits text where no tokenizer.json does
    confined    a tokenizer that is not ordinary, in a process of its own, which is `child`
    spm         SentencePiece's files, parsed by `protobuf`
    sentences   classes whose text the sentencepiece library splits
    aligned     classes that number the pieces of a model in fairseq's order
    whisper     Whisper's special tokens, which its files leave out
    ranks       tiktoken's files
    world       RWKV's lists
    plain       the words of static embeddings
    loading     the whole tokenizer of a tokenizer.json, built when a text is split
    excerpts    the same cut down to what a text needs, once its pieces and merges are kept
    older       the tokenizers that are in other files
    files       which files of a model its tokenizer is in
    tekken      Mistral's tekken.json
    by_score    byte pairs merged by the scores of pieces, from the left
    ggml_names  what llama.cpp knows of GGUF files without being told
    ggml        what a GGUF file says of its tokens
    queries     what a person types, turned into ids
"""

from embtool.vocabulary.files import read_vocabulary, read_vocabulary_file
from embtool.vocabulary.queries import (
    POOLS,
    Query,
    Term,
    note_of_bare,
    parse_expression,
    parse_hex,
    parse_ids,
    read_queries,
    read_query,
)
from embtool.vocabulary.words import Token, Vocabulary, root_of

__all__ = [
    "POOLS",
    "Query",
    "Term",
    "Token",
    "Vocabulary",
    "note_of_bare",
    "parse_expression",
    "parse_hex",
    "parse_ids",
    "read_queries",
    "read_query",
    "read_vocabulary",
    "read_vocabulary_file",
    "root_of",
]
