"""Rules of products that sum over axes: matrix products and convolutions."""

from __future__ import annotations

from symvi.tracing.cells import Block, Cells
from symvi.tracing.elementwise import pin_axes, renumbered, together, without
from symvi.tracing.reading import pin_everything, rule


@rule("dot_general")
def dot_general(cells: Cells, equation, blocks: list, shapes: list) -> list:
    """The sum over contracted axes of a product entry by entry of two stretched arrays."""
    contracted, batch = equation.params["dimension_numbers"]
    ranks = [len(shape) for shape in shapes]
    taken = [{*contracted[side], *batch[side]} for side in (0, 1)]
    free = [[a for a in range(ranks[side]) if a not in taken[side]] for side in (0, 1)]
    num_batch = len(batch[0])
    starts = (num_batch, num_batch + len(free[0]))
    end = starts[1] + len(free[1])  # where the contracted axes stand
    sides = []
    for side in (0, 1):
        place = {axis: i for i, axis in enumerate(batch[side])}
        place |= {axis: starts[side] + i for i, axis in enumerate(free[side])}
        place |= {axis: end + i for i, axis in enumerate(contracted[side])}
        sides.append(renumbered(blocks[side], place))
    product = together(cells, sides)
    return without(cells, product, range(end, end + len(contracted[0])))


@rule("conv_general_dilated")
def convolution(cells: Cells, equation, blocks: list, shapes: list) -> list:
    """Input channels go with those of the kernel; positions stay in place."""
    settings = equation.params
    if settings["batch_group_count"] > 1:
        return pin_everything(cells, equation, blocks, shapes)
    image, kernel, out = settings["dimension_numbers"]
    groups = settings["feature_group_count"]
    image_blocks = pin_axes(cells, blocks[0], image[2:], "a convolution along features")
    kernel_blocks = pin_axes(cells, blocks[1], kernel[2:], None)
    image_blocks = _alone(cells, image_blocks)
    kernel_blocks = _alone(cells, kernel_blocks)
    channels = image_blocks.get(image[1])
    into, made = kernel_blocks.get(kernel[1]), kernel_blocks.get(kernel[0])
    if groups == 1:
        if channels is not None and into is not None:
            cells.tie(channels, into)
    elif channels is not None:
        made = _grouped(cells, channels, into, made, (groups, shapes[1][kernel[0]]))
    found = []
    if made is not None:
        found.append(Block((out[1],), made))
    if image[0] in image_blocks:
        found.append(Block((out[0],), image_blocks[image[0]]))
    return found + cells.pinned(equation.outvars[0].aval.shape, out[2:])


def _alone(cells: Cells, blocks: list) -> dict:
    """The cells of each axis by itself."""
    singles = [part for block in blocks for part in cells.single(block) if part is not None]
    return {part.axes[0]: part.cells for part in singles}


def _grouped(cells: Cells, channels, into, made, sizes: tuple):
    """Channels of a grouped convolution: (group, place), places as in the kernel.

    The kernel's outputs are children of the groups.
    """
    groups, outputs = sizes
    pairs = Block((0, 1), channels.reshape(groups, -1))
    of_group = cells.project(pairs, (0,))
    places = cells.project(pairs, (1,))
    if places is not None and into is not None and len(channels) > groups:
        cells.tie(places.cells, into)
    if made is None:
        made = cells.fresh((outputs,))
    cells.relate(made.reshape(groups, -1), of_group.cells)
    return made
