"""An export as a stream: parts on Ray, what they share on the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from specray.pipelines.exporting import ExportCounts, ExportPart, Made
from specray.pipelines.progress import Progress
from specray.tables.exports import SKIPPED, assemble


def stream_export(work: ExportPart, parts: list[dict[str, Any]], total: int) -> ExportCounts:
    """Export every part, with a progress line, and the files that they share.

    Parameters
    ----------
    work
        The stage.
    parts
        The rows of the plan, in order.
    total
        Images of the plan.

    Raises
    ------
    UserError
        A store does not answer, or what is exported changes meanwhile.
    """
    counts = ExportCounts()
    made_by, output = work.format, work.output
    with ExitStack() as stack:
        documents = [
            stack.enter_context(assemble(document, output))
            for document in (SKIPPED, *made_by.documents)
        ]
        with Progress(total, lambda: _done(counts)):
            for made in _made(work, parts):
                counts += made.counts
                for assembly in documents:
                    assembly.add(made.entries)
        skipped, *shared = documents
        if skipped.empty:
            output.delete(SKIPPED.name)  # photographs that were gone may have come back
        else:
            skipped.finish()
        for assembly in shared:
            assembly.finish()
        files = sum(assembly.files for assembly in documents)
    for file in made_by.files():
        output.write(file.key, file.data)
        files += 1
    return counts + ExportCounts(files=files)


def _done(counts: ExportCounts) -> tuple[int, int]:
    skipped = sum(counts.skipped.values())
    return counts.images + skipped, skipped


def _made(work: ExportPart, parts: list[dict[str, Any]]) -> Iterator[Made]:
    """What becomes of every part, in their order."""
    if not parts:
        return
    # Ray takes a second and half a gigabyte, which a mistake in the arguments does without.
    import ray
    from ray.data import DataContext

    from specray.pipelines.cluster import data_context, ray_session
    from specray.pipelines.faults import faults_as_user_errors

    with ray_session(), faults_as_user_errors():
        with DataContext.current(data_context()):
            # A part is a block, so that the results of one need not wait for those of the next.
            planned = ray.data.from_items(parts, override_num_blocks=len(parts))
            graph = planned.map(work, num_cpus=1)
        for row in graph.iter_rows():
            yield Made.from_json(row["made"])
