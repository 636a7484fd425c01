"""ByteFormerModel as an encoder: its token mask, GPT-2 through EncoderDecoderModel, T5's decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    EncoderDecoderModel,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from byteformer_convert.bundled.configuration_byteformer import ByteFormerConfig
from byteformer_convert.bundled.modeling_byteformer import ByteFormerModel
from tests.worlds import make_config, make_ids

START, END, CHANNELS = 0, 1, 8
LABELS = torch.tensor([[3, 4, END], [5, END, -100]])


@pytest.fixture(autouse=True)
def registered() -> None:
    """As the README has it: EncoderDecoderModel looks its parts up by model_type."""
    AutoConfig.register("byteformer", ByteFormerConfig, exist_ok=True)
    AutoModel.register(ByteFormerConfig, ByteFormerModel, exist_ok=True)


def make_encoder(**changes: Any) -> ByteFormerModel:
    torch.manual_seed(0)
    return ByteFormerModel(make_config(**changes)).eval()


def make_captioner(**changes: Any) -> EncoderDecoderModel:
    encoder = make_encoder(**changes)
    words = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": END}
    config = GPT2Config(
        vocab_size=20, n_embd=CHANNELS, n_layer=2, n_head=2, n_positions=16, add_cross_attention=True, **words
    )
    config.is_decoder = True
    model = EncoderDecoderModel(encoder=encoder, decoder=GPT2LMHeadModel(config))
    model.config.decoder_start_token_id, model.config.pad_token_id = START, END
    model.generation_config.decoder_start_token_id = START
    with torch.no_grad():  # so that what the encoder says is heard
        for name, parameter in model.decoder.named_parameters():
            if "crossattention" in name and parameter.ndim == 2:
                parameter.normal_(std=0.5)
    return model.eval()


@pytest.mark.parametrize("merges", [[True, False], [False, False], [True, True]])
@pytest.mark.parametrize("lengths", [(40, 13), (41, 41), (4, 4), (22, 5, 3)])
def test_the_token_mask_is_known_before_the_tokens(lengths: tuple[int, ...], merges: list[bool]) -> None:
    encoder, ids = make_encoder(downsample=merges), make_ids(*lengths)
    with torch.no_grad():
        output = encoder(ids)
    mask = encoder.get_token_mask(ids)
    assert mask.shape == output.last_hidden_state.shape[:2]
    assert torch.equal(mask, output.token_mask)
    assert torch.equal(encoder.get_token_mask(ids.clamp(min=0), attention_mask=(ids >= 0).long()), mask)
    for row, length in zip(mask, lengths, strict=True):
        alone = encoder.get_token_mask(ids[:1, :length]).shape[1] if length >= 4 else 0
        assert row.tolist() == [1] * alone + [0] * (mask.shape[1] - alone)


def test_the_encoder_passes_over_a_token_mask() -> None:
    encoder, ids = make_encoder(mask_padding=True), make_ids(40, 13)
    mask = encoder.get_token_mask(ids)
    with torch.no_grad():
        assert torch.equal(encoder(ids, attention_mask=mask)[0], encoder(ids)[0])


def test_a_mask_of_neither_length_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"7 columns; give one per byte \(40\), or the mask of the tokens \(10\)"):
        make_encoder()(make_ids(40), attention_mask=torch.ones(1, 7))


def test_a_captioner_learns() -> None:
    model, ids = make_captioner(), make_ids(40, 13)  # in evaluation mode: no dropout
    mask = model.encoder.get_token_mask(ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(60):
        loss = model(input_ids=ids, attention_mask=mask, labels=LABELS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10
    written = model.generate(ids, attention_mask=mask, num_beams=3, max_new_tokens=3)
    assert written.tolist() == [[START, 3, 4, END], [START, 5, END, END]]


def test_the_decoder_does_not_see_padding() -> None:
    """With the padding masked in the encoder, too, a caption does not depend on how far its batch was padded."""
    model, ids = make_captioner(mask_padding=True), make_ids(40, 13)
    start = torch.tensor([[START, 3, 7]])
    with torch.no_grad():
        alone = model(
            input_ids=ids[1:, :13], attention_mask=model.encoder.get_token_mask(ids[1:, :13]), decoder_input_ids=start
        ).logits
        mask = model.encoder.get_token_mask(ids)
        padded = model(input_ids=ids, attention_mask=mask, decoder_input_ids=start.expand(2, -1)).logits[1:]
        unmasked = model(input_ids=ids, decoder_input_ids=start.expand(2, -1)).logits[1:]
    assert (padded - alone).abs().max() < 1e-5
    assert (unmasked - alone).abs().max() > 1e-3


def test_beam_search_with_and_without_cache_and_from_encoder_outputs() -> None:
    model, ids = make_captioner(), make_ids(40, 13)
    mask = model.encoder.get_token_mask(ids)
    beams = {"num_beams": 3, "max_new_tokens": 6}
    cached = model.generate(ids, attention_mask=mask, use_cache=True, **beams)
    assert torch.equal(model.generate(ids, attention_mask=mask, use_cache=False, **beams), cached)
    encoded = model.encoder(ids)
    assert torch.equal(model.generate(encoder_outputs=encoded, attention_mask=encoded.token_mask, **beams), cached)


def test_a_captioner_is_saved_and_loaded(tmp_path: Path) -> None:
    model, ids = make_captioner(), make_ids(40, 13)
    model.save_pretrained(tmp_path)
    again, info = EncoderDecoderModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    mask = model.encoder.get_token_mask(ids)
    start = torch.tensor([[START], [START]])
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits
        found = again.eval()(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits
    assert torch.equal(found, wanted)


def test_t5s_decoder_takes_the_encoders_outputs() -> None:
    encoder, ids = make_encoder(), make_ids(40, 13)
    config = T5Config(
        vocab_size=20,
        d_model=CHANNELS,
        d_kv=4,
        d_ff=16,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=START,
        pad_token_id=START,
        eos_token_id=END,
    )
    t5 = T5ForConditionalGeneration(config)
    encoded = encoder(ids)
    loss = t5(encoder_outputs=encoded, attention_mask=encoded.token_mask, labels=LABELS).loss
    loss.backward()
    assert all(layer.attention.q_proj.weight.grad is not None for layer in encoder.layers)
    t5.eval()
    beams = {"num_beams": 3, "max_new_tokens": 4}
    written = t5.generate(encoder_outputs=encoder(ids), attention_mask=encoded.token_mask, **beams)
    t5.encoder = encoder  # or in the place of T5's own
    assert torch.equal(t5.generate(ids, attention_mask=encoded.token_mask, **beams), written)
