"""What an experiment refuses, which cells it has, and when its definition changes."""

import ast
import importlib.util
import sys
import textwrap

import pytest

from seglab.evidence import Comparison, Experiment, ExperimentError
from seglab.evidence.experiment import _dump


def measure(width, rate, *, seed):
    return {"iou": width * rate + seed}


def declare(**changes):
    fields = {
        "name": "widths",
        "question": "Are wide networks better?",
        "measure": measure,
        "factors": {"width": (4, 8), "rate": (0.1, None)},
        "metrics": {"iou": "mean IoU"},
        "seeds": (0, 1, 2),
    }
    return Experiment(**{**fields, **changes})


def test_the_grid_is_whole_for_the_first_seed_before_the_next():
    cells = list(declare().cells())
    assert len(cells) == 2 * 2 * 3
    assert [cell["seed"] for cell in cells] == [0] * 4 + [1] * 4 + [2] * 4
    assert len({tuple(cell.items()) for cell in cells}) == len(cells)


def test_cells_that_make_no_sense_are_skipped():
    cells = declare(skip=lambda width, rate: width == 8 and rate is None).cells()
    assert {"width": 8, "rate": None, "seed": 0} not in cells
    assert len(list(declare(skip=lambda width, rate: width == 8).cells())) == 6


RULE = {"claim": "Wide is better.", "metric": "iou"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Widths"}, "'Widths'; it must be lower case"),
        ({"name": "../widths"}, "lower case"),
        ({"factors": {"seed": (1,)}}, "'seed' of widths is no name"),
        ({"factors": {"two words": (1,)}}, "'two words'"),
        ({"metrics": {"seconds": "s"}}, "metric 'seconds'"),
        ({"metrics": {"width": "px"}}, "are both factors and metrics"),
        ({"factors": {"width": ()}}, "expected one or more"),
        ({"factors": {"width": (1, 1)}}, "each once"),
        ({"factors": {"width": (1, "1")}}, "each once"),
        ({"seeds": ()}, "seeds of widths"),
        ({"seeds": (1, 1)}, "each once"),
        ({"tolerance": {"dice": 0.1}}, "names \\['dice'\\]"),
        (
            {"full": {"depth": (1, 2)}},
            "names \\['depth'\\]; there is width, rate, seed",
        ),
        (
            {"rules": [Comparison(**RULE, more={"width": 8}, less={"width": 8})]},
            "different levels of the same factors",
        ),
        (
            {"rules": [Comparison(**RULE, more={"width": 8}, less={"rate": 0.1})]},
            "different levels of the same factors",
        ),
        (
            {"rules": [Comparison(**RULE, more={"width": 9}, less={"width": 4})]},
            "width = 9; width has \\[4, 8\\]",
        ),
        (
            {
                "rules": [
                    Comparison(
                        claim="x", metric="dice", more={"width": 8}, less={"width": 4}
                    )
                ]
            },
            "on 'dice'; the metrics are \\['iou'\\]",
        ),
        (
            {
                "rules": [
                    Comparison(
                        **RULE, more={"width": 8}, less={"width": 4}, confidence=95
                    )
                ]
            },
            "confidence 95",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_once(changes, message):
    with pytest.raises(ExperimentError, match=message):
        declare(**changes)


MODULE = '''
SIZE = 64
CALLS = []


def deep(x):
    return x + 3


BUILDERS = {"deep": (deep, 0.1)}


def helper(x):
    """Say more."""
    CALLS.append(x)
    return BUILDERS["deep"][0](x) * SIZE


def unused():
    return 1


def measure(width, rate, *, seed):
    return {"iou": helper(width)}
'''


@pytest.fixture
def digest(tmp_path):
    """Give the definition of an experiment whose module has this source."""
    count = 0

    def of(source, **changes):
        nonlocal count
        count += 1
        path = tmp_path / f"experiment_{count}.py"
        path.write_text(textwrap.dedent(source), "utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return declare(measure=module.measure, **changes).definition

    return of


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("helper(width)}", "helper(width) + 1}"),
        ("(x) * SIZE", "(x) + SIZE"),
        ("SIZE = 64", "SIZE = 32"),
        ("x + 3", "x + 4"),
        ("(deep, 0.1)", "(deep, 0.2)"),
    ],
)
def test_a_definition_follows_the_code_that_is_used(digest, old, new):
    assert old in MODULE
    assert digest(MODULE.replace(old, new)) != digest(MODULE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Say more.", "Say less."),
        ("return 1", "return 2"),
        ("    return x", "    # why\n    return  x"),
        ("CALLS = []", "CALLS = [1]"),
    ],
)
def test_a_definition_ignores_words_and_what_is_not_used(digest, old, new):
    assert old in MODULE
    assert digest(MODULE.replace(old, new)) == digest(MODULE)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Give the definition of an experiment that uses a module beside its own."""
    count = 0

    def of(beside):
        nonlocal count
        count += 1
        folder = tmp_path / f"catalog_{count}"
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "shared.py").write_text(textwrap.dedent(beside), "utf-8")
        (folder / "mine.py").write_text(
            f"from catalog_{count}.shared import train\n"
            "def measure(width, rate, *, seed):\n    return {'iou': train(width)}\n",
            "utf-8",
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        module = importlib.import_module(f"catalog_{count}.mine")
        return declare(measure=module.measure).definition

    return of


def test_a_definition_follows_what_stands_beside(package):
    """Also through a cache, and only what is used."""
    shared = """
    import functools
    EPOCHS = 3
    @functools.lru_cache(maxsize=4)
    def build(width):
        return width + 1
    def train(width):
        return build(width) * EPOCHS
    def other():
        return 1
    """
    first = package(shared)
    assert package(shared) == first
    assert package(shared.replace("return 1", "return 2")) == first
    assert package(shared.replace("EPOCHS = 3", "EPOCHS = 4")) != first
    assert package(shared.replace("width + 1", "width + 2")) != first


def test_a_definition_is_the_same_on_every_python():
    """Python 3.12 gave functions and classes a field, 3.13 spells empty ones less."""
    tree = ast.parse("def twice(x: int = 0):\n    return [x, None]")
    spelled = _dump(tree)
    assert spelled == (
        "Module(body=[FunctionDef(name='twice', args=arguments(args=[arg(arg='x', "
        "annotation=Name(id='int', ctx=Load()))], defaults=[Constant(value=0)]), "
        "body=[Return(value=List(elts=[Name(id='x', ctx=Load()), Constant()], "
        "ctx=Load()))])])"
    )
    function = tree.body[0]
    for field, value in (("newer", []), ("newest", None)):
        function._fields = (*function._fields, field)
        setattr(function, field, value)
    assert _dump(tree) == spelled


def test_more_seeds_and_levels_leave_a_definition_as_it_is():
    more = declare(seeds=range(9), factors={"width": (4, 8, 16), "rate": (0.1,)})
    assert more.definition == declare().definition
    assert declare(metrics={"dice": ""}).definition != declare().definition
    rule = Comparison(**RULE, more={"width": 8}, less={"width": 4})
    assert declare(rules=[rule]).definition == declare().definition
    assert declare(rules=[rule]).rules_digest != declare().rules_digest


def test_a_function_without_source_is_refused():
    space = {}
    exec("def measure(width, rate, *, seed): return {'iou': 0}", space)
    with pytest.raises(ExperimentError, match=r"source of .* cannot be read"):
        _ = declare(measure=space["measure"]).definition
