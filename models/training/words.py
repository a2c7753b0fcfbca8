# SPDX-License-Identifier: MIT
"""The parrot's vocabulary: a sentencepiece model of Moshi's four special tokens and two words."""

import io

import sentencepiece

END_OF_PADDING, PADDING = 0, 3  # Moshi's: said in the frame before a word, and in all others without one
SPEECH, SILENCE = 4, 5
PIECES = ("<unk>", "<s>", "</s>", "<pad>", "▁speech", "▁silence")
TEXT_CARD = len(PIECES)


def tokenizer() -> bytes:
    """Words are numbered by how often they are met, hence the two of one and one of the other."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["speech silence", "speech"]),
        model_writer=model,
        model_type="word",
        vocab_size=TEXT_CARD,
        unk_id=END_OF_PADDING,
        bos_id=1,
        eos_id=2,
        pad_id=PADDING,
        normalization_rule_name="identity",  # the usual rules would make it 240 kB
        minloglevel=2,
    )
    written = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = tuple(written.id_to_piece(i) for i in range(written.get_piece_size()))
    if pieces != PIECES:
        raise SystemExit(f"sentencepiece numbers the words otherwise than the model does: {pieces} instead of {PIECES}")
    return model.getvalue()
