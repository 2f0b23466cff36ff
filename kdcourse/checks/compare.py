"""How every exercise check compares an answer with the solution and recognises known wrong ones."""

import torch

TOLERANCE = 1e-5
STUB = "… Not filled in yet: replace each `...` and run the cell again."


def compare(answer, expected, known_wrong: dict | None = None, tolerance: float = TOLERANCE) -> bool:
    """Print what `answer` is worth beside `expected`, and return whether it is right.

    answer: a number, a tensor, or a function without arguments that computes one (its errors are reported, not raised); Ellipsis or
    None stand for a stub not filled in. known_wrong: hint → the value that the mistake gives. tolerance: relative and absolute.
    """
    try:
        found = answer() if callable(answer) else answer
    except Exception as problem:
        if "ellipsis" in str(problem).lower():  # a blank that something was done with
            print(STUB)
            return False
        print(f"✗ Your code stopped with {type(problem).__name__}: {problem}")
        return False
    if _is_stub(found):
        print(STUB)
        return False
    try:
        found = torch.as_tensor(found).detach().double()
    except (TypeError, ValueError, RuntimeError):
        print(f"✗ Your answer is a {type(found).__name__}; expected a number or a tensor.")
        return False
    expected = torch.as_tensor(expected).detach().double()
    if found.shape != expected.shape:
        print(f"✗ Your answer has shape {tuple(found.shape)}; expected {tuple(expected.shape)}.")
        return False
    return _judge(found, expected, known_wrong or {}, tolerance)


def _is_stub(found) -> bool:
    return found is None or found is ... or (isinstance(found, list | tuple) and any(part is ... for part in found))


def _close(found, expected, tolerance: float) -> bool:
    return bool(torch.allclose(found, expected, rtol=tolerance, atol=tolerance))


def _judge(found: torch.Tensor, expected: torch.Tensor, known_wrong: dict, tolerance: float) -> bool:
    difference = float((found - expected).abs().max()) if expected.numel() else 0.0
    if _close(found, expected, tolerance):
        print(f"✓ Right{'' if difference == 0 else f' (largest difference {difference:.1e}, rounding)'}.")
        return True
    for hint, wrong in known_wrong.items():
        wrong = torch.as_tensor(wrong).detach().double()
        if wrong.shape == found.shape and _close(found, wrong, tolerance):
            print(f"✗ Not yet. {hint}")
            return False
    scale = float(expected.abs().max()) or 1.0
    near = difference < 0.05 * scale
    print(
        f"✗ {'Close, but not equal' if near else 'Not yet'}: the largest difference is {difference:.3g}, where values go up to {scale:.3g}."
    )
    return False
