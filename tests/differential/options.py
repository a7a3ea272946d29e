"""Options of models: drawn, and counted by every value tried."""

import json
import random
from collections import Counter, defaultdict

HOW_MANY = [0, 1, 1, 1, 2, 2, 3, 4, 6, 9]


def draw_some(rng: random.Random, values: dict[str, list], most: int | None = None) -> dict:
    """Values of a few options, sometimes of one, sometimes of many, each drawn from its list."""
    count = min(rng.choice(HOW_MANY), len(values), most if most is not None else len(values))
    return {name: rng.choice(values[name]) for name in rng.sample(sorted(values), count)}


class Options:
    """Counts, per library, how often each value of each option was tried."""

    def __init__(self):
        self.counts = defaultdict(lambda: defaultdict(Counter))

    def record(self, library: str, defaults: dict, options: dict) -> None:
        """Counts one model; an option that is left out counts as its default."""
        for name, value in pairs(defaults, options):
            self.counts[library][name][value] += 1

    def table(self) -> str:
        """A Markdown table per library: options, and their values with counts, the most frequent first."""
        lines = []
        for library, options in sorted(self.counts.items()):
            lines += [f"## {library}", "", "| option | values tried, and in how many models |", "|---|---|"]
            for name, values in sorted(options.items()):
                shown = ", ".join(f"`{value}` {count}" for value, count in sorted(values.items(), key=lambda item: (-item[1], item[0])))
                lines.append(f"| `{name}` | {shown} |")
            lines.append("")
        return "\n".join(lines)


def pairs(defaults: dict, options: dict) -> list[tuple[str, str]]:
    """Every option but the seed, with its value as JSON."""
    both = {**defaults, **options}
    return [(name, json.dumps(both[name])) for name in sorted(both) if name != "seed"]


def changed(defaults: dict, options: dict) -> dict:
    """The options that are not at their default."""
    return {name: value for name, value in options.items() if name != "seed" and (name not in defaults or defaults[name] != value)}
