"""A network's matrices in 8 bits, for OpenVINO to multiply in integers: dynamic quantisation.

Each output of a matrix gets a step and a zero of its own when the weights are rounded, once, and so
does each row of a table, such as words' or positions' vectors. What a matrix is multiplied with is
rounded while it is computed, 64 numbers by their greatest, so that no example inputs have to be had
beforehand. Everything else, convolutions among it, stays as it is. A processor that can't multiply
integers fast gets the rounded weights as floats.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

# How many numbers are rounded together while the network runs (OpenVINO's own default is 32). On a
# processor of 2023 64 save a sixth of the time and cost nothing: the rounded weights decide how far
# off a network is. By 128 or more a text gets further off.
GROUP: Final = 64
# The fewest numbers of a matrix that is worth it.
LEAST: Final = 128 * 128
LEVELS: Final = 255
# Changes with what `round_matrices` does: kept models of another rule are not used.
RULE: Final = 1


def round_matrices(model: Any) -> None:
    """Replace the large matrices of OpenVINO's `model`, and its tables, by what they round to."""
    for operation in model.get_ordered_ops():
        place = _matrix_of(operation)
        if place is not None:
            operation.input(place).replace_source_output(_rounded(operation, place))
    model.validate_nodes_and_infer_types()


def _matrix_of(operation: Any) -> int | None:
    """Which of its inputs is a matrix of weights in float32, if any."""
    place = {"MatMul": 1, "Gather": 0}.get(operation.get_type_name())
    if place is None:
        return None
    source = operation.input_value(place).get_node()
    if source.get_type_name() != "Constant" or source.get_element_type().to_dtype() != np.float32:
        return None
    shape = source.get_output_shape(0)
    return place if len(shape) == 2 and shape[0] * shape[1] >= LEAST else None


def _rounded(operation: Any, place: int) -> Any:
    """The output of (numbers - zeros) * steps, which the engine takes as rounded weights."""
    from openvino import opset13

    weights = operation.input_value(place).get_node().data
    outputs_are_rows = place == 0 or operation.get_attributes()["transpose_b"]
    numbers, zeros, steps = rounded(weights, axis=1 if outputs_are_rows else 0)
    as_float = (opset13.convert(part, "f32") for part in (numbers, zeros))
    return opset13.multiply(opset13.subtract(*as_float), steps).output(0)


def rounded(
    weights: npt.NDArray[np.float32], axis: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Numbers, zeros and steps: weights are about (numbers - zeros) * steps, along `axis` alike.

    A zero stays one.
    """
    low = np.minimum(weights.min(axis, keepdims=True), 0)
    high = np.maximum(weights.max(axis, keepdims=True), 0)
    steps = (high - low) / LEVELS
    steps[steps == 0] = 1
    zeros = np.round(-low / steps)
    numbers = np.clip(np.round(weights / steps) + zeros, 0, LEVELS)
    return numbers.astype(np.uint8), zeros.astype(np.uint8), steps
