import pytest

from bodhi_jupyter.catalog.names import alias_name_from, check_alias_name, file_name_for


@pytest.mark.parametrize("name", ["a", "llama3:instruct", "org/repo:Q8_0", "c4ai-command-r+", "me@home", "1.5b", "con"])
def test_allowed(name):
    assert check_alias_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", ".a", "a b", "a?b", "a#b", "a%20b", "a\\b", "a\n", "ä", "/a", "a/", "a//b", "a/../b", "a/.", "a" * 201,
     "default", "Default:latest"],
)  # fmt: skip
def test_refused(name):
    with pytest.raises(ValueError):
        check_alias_name(name)


@pytest.mark.parametrize(
    ("alias", "file"),
    [
        ("llama3:instruct", "llama3--instruct.yaml"),
        ("org/Repo:Q8_0", "org--Repo--Q8_0.yaml"),
        ("con", "_con.yaml"),
        ("AUX.1", "_AUX.1.yaml"),
        ("com1:x", "com1--x.yaml"),
        ("console", "console.yaml"),
    ],
)
def test_file_names(alias, file):
    assert file_name_for(alias, []) == file


def test_names_that_would_share_a_file_do_not():
    taken: list[str] = []
    for alias in ["a:b", "a/b", "a--b", "A:b", "A/B"]:
        taken.append(file_name_for(alias, taken))
    assert len({name.casefold() for name in taken}) == 5
    assert not any(set(name) & set('<>:"/\\|?*') for name in taken)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model", "model"),
        ("my model (1)", "my-model-1"),
        ("模型", "model"),
        ("._-x-_.", "x"),
        ("a" * 300, "a" * 200),
        ("default", "default-model"),
        ("Default:LATEST", "Default:LATEST-model"),
        ("default2", "default2"),
    ],
)
def test_a_file_gives_an_allowed_name(text, name):
    assert check_alias_name(alias_name_from(text)) == name
