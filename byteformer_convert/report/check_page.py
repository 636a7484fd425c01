"""What convert and verify found, as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byteformer_convert.errors import ParityError
from byteformer_convert.report.page import Page, machine_facts, write_page

if TYPE_CHECKING:
    from byteformer_convert.conversion import Conversion, Request
    from byteformer_convert.inspection import TensorFamily
    from byteformer_convert.verification import Verification


def conversion_page(request: Request, conversion: Conversion) -> Page:
    """Of a conversion."""
    return Page(
        subject=conversion.output.name,
        parity=conversion.parity,
        families=_families(request.config or request.weights, request.overrides),
        facts=[*_source_facts(conversion.report), *machine_facts(conversion.report["versions"])],
        notes=[note for note in conversion.notes if not note.startswith("Not tried:")],  # the page lists those itself
    )


def verification_page(verification: Verification, config: Path, overrides: Sequence[str]) -> Page:
    """Of a finished folder's check; `config` is the YAML, or an adapter's folder."""
    return Page(
        subject=verification.folder.name,
        parity=verification.parity,
        families=_families(config, overrides),
        facts=machine_facts(_versions()),
        failure=None if verification.passed else verification.failure,
        notes=[*(f"{name} is not this version's." for name in verification.changed_code), *verification.notes],
    )


@contextmanager
def failure_page(request: Request, path: Path | None) -> Iterator[None]:
    """Writes the page of a conversion that the block gives up because parity does not hold."""
    try:
        yield
    except ParityError as error:
        if path is not None and error.report is not None:
            families = _families(request.config or request.weights, request.overrides)
            facts = machine_facts(_versions())
            write_page(Page(request.output.name, error.report, families, facts, error.report.failure), path)
        raise


def _families(config: Path, overrides: Sequence[str]) -> tuple[TensorFamily, ...]:
    from byteformer_convert.corenet.options import load_options
    from byteformer_convert.corenet.state_dict import expected_shapes
    from byteformer_convert.inspection import families

    return families(expected_shapes(load_options(config, overrides)))


def _source_facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    files = [(file["name"], f"{file['size']:,} bytes, sha256 {file['sha256']}") for file in report["sources"]]
    return [*files, ("weights", report["checkpoint"]["choice"])]


def _versions() -> dict[str, str]:
    from byteformer_convert.conversion import library_versions

    return library_versions()
