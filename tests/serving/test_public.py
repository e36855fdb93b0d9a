from __future__ import annotations

import types

import pytest

import blindrelay.relay_node
import blindrelay.serving


@pytest.mark.parametrize("package", [blindrelay.serving, blindrelay.relay_node])
def test_all_is_complete_and_sorted(package: types.ModuleType) -> None:
    constants = [name for name in package.__all__ if name.isupper()]
    classes = [name for name in package.__all__ if name[0].isupper() and not name.isupper()]
    rest = [name for name in package.__all__ if name[0].islower()]
    assert package.__all__ == sorted(constants) + sorted(classes) + sorted(rest)
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    } - {"annotations", "needs_extra"}
    assert public == set(package.__all__)
