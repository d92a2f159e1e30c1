"""Ready-made spectrograms: values kept exactly, metadata joined, damage refused, nothing resized."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from hgenre.cli.import_features import import_features as import_features_command
from hgenre.data import import_features
from hgenre.data.arrays import open_arrays
from hgenre.data.import_features import import_arrays, import_images
from hgenre.data.manifest import Manifest, Song, read_manifest
from hgenre.errors import FeatureError, HgenreError, ManifestError
from hgenre.features.spec import ArraySpec

IDS = ["metal.00042", "metal.00063", "pop.00001", "rock.00007"]
GENRES = ["metal", "metal", "pop", "rock"]

APP = typer.Typer(pretty_exceptions_enable=False)
APP.command()(import_features_command)


def levels(dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (4, 8, 13)).astype(dtype)


def archive(path: Path, **arrays: Any) -> Path:
    np.savez(path, **{"levels": levels(), "ids": np.array(IDS), "genres": np.array(GENRES), **arrays})
    return path


def take(source: Path, out: Path, **options: Any) -> Manifest:
    return import_arrays(source, out, frame_rate_hz=12.5, scale="level", **options)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_values_are_kept_and_read_back_in_db(tmp_path: Path, dtype: str) -> None:
    values = levels(dtype)
    # Column order, as arrays come that were transposed before they were saved.
    source = archive(tmp_path / "a.npz", levels=np.asfortranarray(values))
    written = take(source, tmp_path / "out", db_per_unit=0.5)
    assert sorted(os.listdir(tmp_path / "out")) == ["features.npy", "manifest.csv", "spec.json"]
    stored = np.load(tmp_path / "out" / "features.npy", mmap_mode="r", allow_pickle=False)
    assert stored.dtype == dtype
    assert stored.flags.c_contiguous
    np.testing.assert_array_equal(stored, values)

    manifest = read_manifest(tmp_path / "out" / "manifest.csv")
    assert manifest == written
    reader = open_arrays(manifest)
    assert reader.spec == ArraySpec(8, 12.5, "level", 0.5)
    for song, row in zip(manifest.songs, values, strict=True):
        frames = reader.frames(song)
        assert frames.dtype == np.float32
        np.testing.assert_array_equal(frames, row.astype(np.float32) * np.float32(0.5))
        assert song.sha256 == hashlib.sha256(row.tobytes()).hexdigest()


def test_without_db_values_are_raw(tmp_path: Path) -> None:
    manifest = take(archive(tmp_path / "a.npz"), tmp_path / "out")
    np.testing.assert_array_equal(open_arrays(manifest).frames(manifest.songs[2]), levels()[2].astype(np.float32))


def test_duplicates_are_known_by_name_and_by_bytes(tmp_path: Path) -> None:
    values = levels()
    values[3] = values[2]
    manifest = take(archive(tmp_path / "a.npz", levels=values), tmp_path / "out")
    assert [song.duplicate_of for song in manifest.songs] == ["", "metal.00042", "", "pop.00001"]


def test_facts_are_joined_by_id(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(
        "id,artist,fault_filtered,duplicate_of\nmetal.00042,Dio,train,\npop.00001,,validation,x\nother,A,test,\n",
        encoding="utf-8",
    )
    manifest = take(archive(tmp_path / "a.npz"), tmp_path / "out", join=tmp_path / "clips.csv")
    assert [(song.artist, song.split, song.duplicate_of) for song in manifest.songs] == [
        ("Dio", "train", ""),
        ("", "", "metal.00042"),
        ("", "valid", "x"),
        ("", "", ""),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,artist\n", r"columns are name, artist; needed is song_id \(or id, or track_id\)"),
        ("song_id,split\na,x\na,\n", r"line 2: split 'x' is none of(.|\n)*line 3: song_id 'a' stands twice"),
        ("track_id,artist\n2,A\n", r"clips\.csv: none of the 4 songs is in the joined table: songs are such as"),
    ],
)
def test_tables_that_cannot_be_joined(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "clips.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ManifestError, match=message):
        take(archive(tmp_path / "a.npz"), tmp_path / "out", join=tmp_path / "clips.csv")


def test_numbers_are_ids_too_and_keys_can_be_named(tmp_path: Path) -> None:
    source = tmp_path / "a.npz"
    np.savez(source, a=levels(), b=levels() + 1, track_ids=np.array([2, 10, 140, 141]), g=np.array(GENRES))
    manifest = take(source, tmp_path / "out", key="b", genres_key="g")
    assert [song.song_id for song in manifest.songs] == ["2", "10", "140", "141"]
    assert open_arrays(manifest).frames(manifest.songs[0])[0, 0] == levels()[0, 0, 0] + 1


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"more": levels()}, {}, r"needed is one array \(song, mel, frame\), found levels \(4, 8, 13\), .*\(--key\)"),
        ({}, {"key": "x"}, r"no array under the key 'x'; keys are levels, ids, genres"),
        ({}, {"ids_key": "x"}, r"no ids under the key 'x'; keys are levels, ids, genres\. Name one \(--ids-key\)"),
        ({}, {"genres_key": "x"}, r"no genres under the key 'x'; keys .* Name one \(--genres-key\)"),
        ({"ids": np.array(IDS[:3])}, {}, "4 spectrograms, 3 ids and 4 genres; needed is one of each"),
        ({"ids": np.array(["a", "a", "", "b"])}, {}, "2 ids are empty or stand twice: a, "),
        ({"levels": levels("float64")}, {}, r"spectrograms are float64 \(4, 8, 13\); needed is .* uint8, float16"),
        ({"levels": np.zeros((4, 8, 0), "uint8")}, {}, "with no axis of length 0"),
        ({"levels": np.full((4, 8, 2), np.nan, "float32")}, {}, "4 songs hold NaN or infinite values: metal.00042, "),
        ({"levels": np.array([[[{}]]])}, {}, "not a readable .npz archive of plain arrays: .*allow_pickle"),
    ],
)
def test_archives_that_cannot_be_imported(
    tmp_path: Path, change: dict[str, np.ndarray], options: dict[str, str], message: str
) -> None:
    with pytest.raises(FeatureError, match=message) as caught:
        take(archive(tmp_path / "a.npz", **change), tmp_path / "out", **options)
    assert str(caught.value).startswith(str(tmp_path / "a.npz"))
    assert not (tmp_path / "out").exists()


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.npz")
    whole = source.read_bytes()
    for content in (b"", b"PK\x03\x04", whole[: len(whole) // 2], b"\x80\x04K\x01."):
        source.write_bytes(content)
        with pytest.raises(FeatureError, match=r"a\.npz: not a readable \.npz archive"):
            take(source, tmp_path / "out")
    np.save(tmp_path / "b.npy", levels())
    with pytest.raises(FeatureError, match="not a readable"):
        take(tmp_path / "b.npy", tmp_path / "out")
    with pytest.raises(FeatureError, match="No such file"):
        take(tmp_path / "none.npz", tmp_path / "out")


def test_damaged_imports_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = take(archive(tmp_path / "a.npz"), out)
    whole = (out / "features.npy").read_bytes()
    for content in (whole[:-1], whole[:40], b""):
        (out / "features.npy").write_bytes(content)
        with pytest.raises(FeatureError, match=r"features\.npy: not a readable array file"):
            open_arrays(manifest)
    np.save(out / "features.npy", np.zeros((4, 9, 13), "uint8"))
    with pytest.raises(FeatureError, match=r"needed are numbers \(song, 8 mel, frame\), .* found uint8 \(4, 9, 13\)"):
        open_arrays(manifest)
    np.save(out / "features.npy", np.zeros((2, 8, 13), "uint8"))
    with pytest.raises(FeatureError, match=r"song pop\.00001: .*features\.npy holds 2 songs, but none is '2'"):
        open_arrays(manifest)
    for content, message in [
        (b"{", "cannot be read"),
        (b"[]", "needed is the spec of imported arrays"),
        (b'{"kind": "log_mel"}', "needed is the spec of imported arrays"),
        (b'{"kind": "arrays", "n_mels": 0, "frame_rate_hz": 1, "scale": ""}', "n_mels >= 1"),
    ]:
        (out / "spec.json").write_bytes(content)
        with pytest.raises(FeatureError, match=message):
            open_arrays(manifest)


def test_an_archive_beside_its_spec_is_read_by_id(tmp_path: Path) -> None:
    archive(tmp_path / "a.npz")
    spec = {"kind": "arrays", "n_mels": 8, "frame_rate_hz": 12.5, "scale": "level"}
    (tmp_path / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    song = Song("x", "a.npz#pop.00001", "pop")
    reader = open_arrays(Manifest((song,), tmp_path))
    np.testing.assert_array_equal(reader.frames(song), levels()[2].astype(np.float32))
    with pytest.raises(FeatureError, match=r"a\.npz holds 4 songs, but none is '0'"):
        open_arrays(Manifest((Song("x", "a.npz#0", "pop"),), tmp_path))


def test_the_reader_refuses_audio_strangers_and_empty_manifests(tmp_path: Path) -> None:
    manifest = take(archive(tmp_path / "a.npz"), tmp_path / "out")
    with pytest.raises(FeatureError, match="song new is not in the manifest whose 4 arrays were opened"):
        open_arrays(manifest).frames(Song("new", "features.npy#0", "pop"))
    with pytest.raises(FeatureError, match=r"song a: a\.wav is not a ready-made array; needed is a path such as"):
        open_arrays(Manifest((Song("a", "a.wav", "pop"),), tmp_path))
    with pytest.raises(FeatureError, match=r"arrays need one spec for all songs of .*, found no usable song"):
        open_arrays(Manifest((), tmp_path))


def test_an_import_that_dies_never_shows_a_manifest_of_other_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = archive(tmp_path / "a.npz"), tmp_path / "out"
    take(source, out)
    renamed: list[str] = []

    def die_at_the_second(old: Path, new: Path) -> None:
        renamed.append(new.name)
        if len(renamed) == 2:
            raise KeyboardInterrupt
        old.rename(new)

    monkeypatch.setattr(import_features.os, "replace", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        take(archive(source, levels=levels() + 1), out)
    assert renamed == ["features.npy", "spec.json"]
    assert sorted(os.listdir(out)) == ["features.npy", "spec.json"]


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("low_band", ["bottom", "top"])
def test_images_are_read_with_the_low_band_first(tmp_path: Path, low_band: Any) -> None:
    pixels = levels()[:2]
    write_image(tmp_path / "in" / "rock" / "a.png", pixels[0])
    write_image(tmp_path / "in" / "pop" / "b.png", np.repeat(pixels[1][..., None], 3, axis=2))
    manifest = import_images(
        tmp_path / "in", tmp_path / "out", frame_rate_hz=10, scale="grey", n_mels=8, low_band=low_band
    )
    assert [(song.song_id, song.genre) for song in manifest.songs] == [("b", "pop"), ("a", "rock")]
    reader = open_arrays(read_manifest(tmp_path / "out" / "manifest.csv"))
    for song, expected in zip(manifest.songs, pixels[::-1], strict=True):
        upright = expected[::-1] if low_band == "bottom" else expected
        np.testing.assert_array_equal(reader.frames(song), upright.astype(np.float32))


def take_images(directory: Path, n_mels: int = 8) -> Manifest:
    return import_images(directory / "in", directory / "out", frame_rate_hz=10, scale="grey", n_mels=n_mels)


def test_images_of_another_size_are_named_and_not_resized(tmp_path: Path) -> None:
    for name, width in (("a", 13), ("b", 13), ("c", 12)):
        write_image(tmp_path / "in" / "rock" / f"{name}.png", np.zeros((8, width), np.uint8))
    with pytest.raises(FeatureError, match=r"1 of 3 images are not 13 columns x 8 mel rows(.|\n)*rock/c\.png: 12 x 8$"):
        take_images(tmp_path)
    with pytest.raises(FeatureError, match="3 of 3 images are not 13 columns x 9 mel rows as needed; nothing is resi"):
        take_images(tmp_path, n_mels=9)


def test_images_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "in" / "rock").mkdir(parents=True)
    with pytest.raises(FeatureError, match=r"no images; needed are PNG or JPEG files such as GENRE/song\.png"):
        take_images(tmp_path)
    write_image(tmp_path / "in" / "rock" / "a.png", levels()[0])
    whole = (tmp_path / "in" / "rock" / "a.png").read_bytes()
    for content in (b"", whole[:30], whole[:-30], b"GIF89a"):
        (tmp_path / "in" / "rock" / "a.png").write_bytes(content)
        with pytest.raises(FeatureError, match=r"a\.png: not a readable PNG or JPEG image"):
            take_images(tmp_path)


def run(*arguments: str) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(APP, [*arguments, "--frame-rate-hz", "12.5", "--scale", "level"])
    return result.exit_code, result.output, result.exception


def test_the_command_imports_archives_and_images(tmp_path: Path) -> None:
    status, output, _ = run(str(archive(tmp_path / "a.npz")), "--out", str(tmp_path / "a"), "--db-per-unit", "0.5")
    assert status == 0
    assert output == f"4 songs of 3 genres, 0 with artist, 1 duplicates: {tmp_path / 'a' / 'manifest.csv'}\n"
    assert open_arrays(read_manifest(tmp_path / "a" / "manifest.csv")).spec.db_per_unit == 0.5
    write_image(tmp_path / "in" / "rock" / "a.png", levels()[0])
    images = [str(tmp_path / "in"), "--out", str(tmp_path / "b")]
    status, output, _ = run(*images, "--n-mels", "8", "--low-band", "top")
    assert (status, output.split(",")[0]) == (0, "1 songs of 1 genres")
    assert run(*images)[0] == 2
    assert run(*images, "--n-mels", "8", "--db-per-unit", "1")[0] == 2


def test_the_command_raises_what_main_prints(tmp_path: Path) -> None:
    _, _, error = run(str(tmp_path / "none.npz"), "--out", str(tmp_path / "a"))
    assert isinstance(error, HgenreError)


@pytest.mark.real_data
def test_real_gtzan_arrays(tmp_path: Path) -> None:
    data = os.environ.get("HGENRE_DATA")
    if not data:
        pytest.skip("HGENRE_DATA is not set: the real music is elsewhere")
    folder = Path(data) / "gtzan"
    manifest = import_arrays(
        folder / "mel_128x387.npz",
        tmp_path,
        frame_rate_hz=22050 / 512 / 3.34,
        scale="level/255 spans [clip minimum, 0 dB below the clip's maximum]",
        db_per_unit=80 / 255,
        join=folder / "clips.csv",
    )
    assert len(manifest.songs) == 709
    assert len(manifest.labels) == 10
    assert sum(bool(song.artist) for song in manifest.songs) == 702
    assert {song.song_id: song.duplicate_of for song in manifest.songs}["rock.00016"] == "metal.00058"
    frames = open_arrays(manifest).frames(manifest.songs[0])
    assert frames.shape == (128, 387)
    assert 0 <= frames.min() < frames.max() <= 80.001
