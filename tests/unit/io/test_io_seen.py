import random
import threading

from medpo_cli.io.seen import Seen


def test_it_answers_as_a_dict_would() -> None:
    draw, seen, plain = random.Random(0), Seen(), dict[str, int]()
    alphabet = "ab0é\0'\";"
    for line in range(1, 3000):
        identifier = "".join(draw.choices(alphabet, k=draw.randint(1, 4)))
        assert seen.add(identifier, line) is (identifier not in plain)
        plain.setdefault(identifier, line)
        other = "".join(draw.choices(alphabet, k=2))
        assert seen.line(other) == plain.get(other)
    assert seen.line(None) is None


def test_another_thread_may_ask() -> None:
    seen, found = Seen(), []
    seen.add("a", 7)
    worker = threading.Thread(target=lambda: found.append(seen.line("a")))
    worker.start()
    worker.join()
    assert found == [7]
