"""What the datasets library reads, without network: parquet, image and audio folders, saved datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from byteformer_convert.bundled.feature_extraction_byteformer import encode_wav
from byteformer_convert.errors import FileInputError
from byteformer_convert.evaluation.sources import open_source
from tests.evaluation.worlds_of_files import write_images
from tests.sample_files import pixels, sample_sounds

datasets = pytest.importorskip("datasets", reason="comes with the extra evaluate")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def image_files(root: Path) -> list[Path]:
    root.mkdir()
    paths = [root / f"{index}.png" for index in range(4)]
    for index, path in enumerate(paths):
        Image.fromarray(pixels(20 + index, 30, 3, index)).save(path)
    return paths


def image_table(root: Path) -> Any:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "ant"])})
    rows = {"image": [str(path) for path in image_files(root)], "label": [0, 1, 1, 0]}
    return datasets.Dataset.from_dict(rows, features=features)


def embedded(table: Any) -> Any:
    """The files' bytes in the table, as on the Hub."""
    from datasets.table import embed_table_storage

    return table.with_format("arrow").map(embed_table_storage, batched=True).with_format(None)


def test_parquet_keeps_its_own_order_of_classes_and_its_pixels(tmp_path: Path) -> None:
    embedded(image_table(tmp_path / "files")).to_parquet(tmp_path / "test.parquet")
    source = open_source(tmp_path / "test.parquet", "image", raw=False)
    assert source.classes == ("dog", "ant")
    assert [source.items.class_index(index) for index in range(4)] == [0, 1, 1, 0]
    with source.items.opened([2]) as (image,):
        assert np.array_equal(np.asarray(image), pixels(22, 30, 3, 2))


def test_raw_gives_the_bytes_themselves(tmp_path: Path) -> None:
    embedded(image_table(tmp_path / "files")).to_parquet(tmp_path / "test.parquet")
    source = open_source(tmp_path / "test.parquet", "image", raw=True)
    with source.items.opened([3]) as contents:
        assert contents == [(tmp_path / "files" / "3.png").read_bytes()]


def test_an_image_folder_with_metadata(tmp_path: Path) -> None:
    image_files(tmp_path / "files")
    rows = "".join(f"{index}.png,{'ant' if index % 2 else 'bee'}\n" for index in range(4))
    (tmp_path / "files" / "metadata.csv").write_text("file_name,label\n" + rows, encoding="utf-8")
    source = open_source(tmp_path / "files", "image", raw=False)
    assert source.classes == ("ant", "bee")
    assert [source.items.class_index(index) for index in range(4)] == [1, 0, 1, 0]


def test_a_saved_dataset_with_splits_needs_one_chosen(tmp_path: Path) -> None:
    table = image_table(tmp_path / "files")
    datasets.DatasetDict({"train": table, "test": table.select([0])}).save_to_disk(tmp_path / "saved")
    with pytest.raises(FileInputError, match="splits train, test") as error:
        open_source(tmp_path / "saved", "image", raw=False)
    assert "--split" in str(error.value.hint)
    assert len(open_source(tmp_path / "saved", "image", split="test", raw=False).items) == 1


def test_sound_comes_as_files(tmp_path: Path) -> None:
    content = encode_wav(sample_sounds()["noise"], "int16", 16_000)
    rows = {"audio": [{"bytes": content, "path": "1.wav"}], "command": ["yes"]}
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "test.parquet")
    source = open_source(tmp_path / "test.parquet", "audio", raw=False)
    with source.items.opened([0]) as (path,):
        assert path.read_bytes() == content
    assert not path.exists()


def test_a_folder_per_class_can_be_read_by_the_library_too(tmp_path: Path) -> None:
    root = write_images(tmp_path / "images")
    ours = open_source(root, "image", raw=False)
    theirs = open_source(root, "image", data_format="datasets", raw=False)
    assert theirs.classes == ours.classes
    assert len(theirs.items) == len(ours.items)


@pytest.mark.parametrize("missing", ["image", "label"])
def test_a_missing_column_is_an_error(tmp_path: Path, missing: str) -> None:
    image_table(tmp_path / "files").remove_columns(missing).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(FileInputError, match="has no column of"):
        open_source(tmp_path / "test.parquet", "image", raw=False)


def test_what_the_library_cannot_read_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(FileInputError, match="cannot read it"):
        open_source(tmp_path / "bad.parquet", "image", raw=False)
