"""The best plan of a tiny case, found by trying every set of moves.

Written from the statements of the problem on plain dictionaries. Nothing of dr_opt is used here: labels of days and weeks,
floors, peak groups, references, caps and λ are worked out again, one household and one slot at a time. For every set of
moves that the counts allow, what is left is a small linear programme in x[customer, from, to], which scipy solves.
"""

import heapq
import itertools
import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import numpy as np
from scipy.optimize import linprog

DUST_KWH = 1e-6
TIE_G_PER_KWH_MINUTE = 1e-6
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Case:
    """One tiny case: times on the local clock, readings by household in that order (None: missing), and what is asked."""

    times: list[datetime]
    usage: dict[str, list[float | None]]
    city: dict[str, str]
    marginal: dict[str, list[float | None]]  # of each household
    average: dict[str, list[float | None]]
    constraints: dict[str, dict | None]  # as in a scenario file; what is not named is off
    model: dict = field(default_factory=lambda: {"name": "ImpactPrioritised"})
    pairs: bool = False
    slot_minutes: int = 60
    day_boundaries: tuple[int, int] = (0, 23)
    week_begins: int = 0  # Monday is 0
    excluded: frozenset[str] = frozenset()

    def limit(self, key: str) -> dict | None:
        return self.constraints.get(key)


@dataclass(frozen=True)
class Optimum:
    """The best that can be reached: objective and grams saved (g), kWh moved, the flows, λ, and how many programmes it took."""

    objective: float
    grams: float
    kwh: float
    flows: dict[tuple[str, int, int], float]
    min_saving: float | None
    programmes: int


class TooLargeError(Exception):
    """Enumerating this case would take too long."""


# ---- labels of time ----------------------------------------------------------------------------------------------


def counting_day(case: Case, t: int) -> date | None:
    """The counting day begins at `first`; hours outside take no part."""
    first, last = case.day_boundaries
    time = case.times[t]
    if first <= last:
        return time.date() if first <= time.hour <= last else None
    if time.hour >= first:
        return time.date()
    return time.date() - timedelta(days=1) if time.hour <= last else None


def period(case: Case, day: date, name: str) -> object:
    if name == "day":
        return day
    if name == "week":
        return day - timedelta(days=(day.weekday() - case.week_begins) % 7)
    return (day.year, day.month) if name == "month" else day.year


class Facts:
    """What the data say before anything is chosen: one number at a time."""

    def __init__(self, case: Case):
        self.case = case
        self.slots = range(len(case.times))
        self.customers = sorted(case.usage)
        self.cities = sorted(set(case.city.values()))
        self.day = [counting_day(case, t) for t in self.slots]
        self.u = {(c, t): self._reading(c, t) for c in self.customers for t in self.slots}
        self.load = {(g, t): sum(self.u[c, t] or 0.0 for c in self.of_city(g)) for g in self.cities for t in self.slots}

    def _reading(self, c: str, t: int) -> float | None:
        kwh = self.case.usage[c][t]
        return None if kwh is None or kwh < 0 else kwh

    def of_city(self, g: str) -> list[str]:
        return [c for c in self.customers if self.case.city[c] == g]

    def of_day(self, d: object) -> list[int]:
        return [t for t in self.slots if self.day[t] == d]

    def days(self) -> list[date]:
        return sorted({d for d in self.day if d is not None})

    def complete(self, c: str, d: object) -> bool:
        """Every slot of the counting day has a good reading and a marginal factor."""
        return all(self.u[c, t] is not None and self.case.marginal[c][t] is not None for t in self.of_day(d))

    def day_usage(self, c: str, d: object) -> float:
        return sum(self.u[c, t] or 0.0 for t in self.of_day(d))

    def takes_part(self, c: str, t: int) -> bool:
        return self.day[t] is not None and c not in self.case.excluded and self.complete(c, self.day[t])

    def reported(self, g: str, t: int) -> bool:
        return any(self.u[c, t] is not None for c in self.of_city(g))


# ---- each limit's own statement ----------------------------------------------------------------------------------


def percentile(values: list[float], percent: float) -> float:
    """Linear between the order statistics."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def floor_kwh(facts: Facts, c: str, t: int, rule: dict) -> float:
    """T2: max(baseline, R % × robust max) over the household's good readings of the same period and time bucket."""
    case = facts.case

    def group(s: int) -> object:
        if rule["baseline_period"] == "day":
            return facts.day[s]
        time = case.times[s]
        bucket = {"slot_of_day": time.time(), "hour_of_day": time.hour, "hour_of_week": (time.weekday(), time.hour)}[rule["time_bucket"]]
        return period(case, facts.day[s], rule["baseline_period"]), bucket

    alike = [facts.u[c, s] for s in facts.slots if facts.day[s] is not None and facts.u[c, s] is not None and group(s) == group(t)]
    base = min(alike) if rule["baseline_type"] == "absolute_min" else sum(alike) / len(alike)
    return max(base, rule["percent_of_robust_max"] / 100 * percentile(alike, rule["robust_max_percentile"]))


def peak_groups(facts: Facts, g: str, rule: dict) -> list[list[int]]:
    """B4: the groups of peak slots of a city."""
    groups = defaultdict(list)
    for t in facts.slots:
        time = facts.case.times[t]
        if facts.day[t] is not None and time.hour in rule["peak_hours"][g].get(WEEKDAYS[time.weekday()], ()):
            groups[{"slot": t, "hour": (time.date(), time.hour), "day": facts.day[t]}[rule["group"]]].append(t)
    return list(groups.values())


def daily_cap_kwh(facts: Facts, g: str, rule: dict) -> float:
    """T1: P % of the region's average daily load."""
    given = (rule.get("daily_average_load_kwh") or {}).get(g)
    if given is None:
        dates = {facts.case.times[t].date() for t in facts.slots if facts.reported(g, t)}
        given = sum(facts.load[g, t] for t in facts.slots) / len(dates)
    return given * rule["percent"] / 100


def most_load_kwh(facts: Facts, g: str, t: int, rule: dict) -> float:
    """T3: the most load the city may have in a slot afterwards."""
    reference = facts.load[g, t]
    if rule["baseline"] == "historical":
        clock = facts.case.times[t].time()
        seen = [facts.load[g, s] for s in facts.slots if facts.case.times[s].time() == clock and facts.reported(g, s)]
        reference = sum(seen) / len(seen) if seen else 0.0
    return max((1 + rule["alpha_peak_cap_percent"] / 100) * reference, facts.load[g, t])


def least_move_kwh(facts: Facts, c: str, t: int) -> float:
    """MinMoveSize: kWh, or a share of the day's usage."""
    rule = facts.case.limit("min_move_size")
    if rule is None:
        return 0.0
    return rule["kwh"] if "kwh" in rule else rule["percent_of_day"] / 100 * facts.day_usage(c, facts.day[t])


def slot_cap_kwh(facts: Facts, c: str, t: int) -> float:
    """What may leave one slot by the limits that speak about that slot alone: own usage, T2, B4 by slot."""
    usage = facts.u[c, t]
    cap = usage
    if rule := facts.case.limit("household_minimum_usage"):
        cap = min(cap, max(0.0, usage - floor_kwh(facts, c, t, rule)))
    rule = facts.case.limit("peak_hour_comfort")
    by_slot = rule and rule["scope"] == "per_customer" and rule["group"] == "slot"
    if by_slot and any(t in group for group in peak_groups(facts, facts.case.city[c], rule)):
        cap = min(cap, rule["max_reduction_percent"] / 100 * usage)
    return cap


def household_sums(facts: Facts, c: str) -> list[tuple[list[int], float]]:
    """Sums of what one household moves: B4 by hour or day, and the share of a day."""
    sums = []
    rule = facts.case.limit("peak_hour_comfort")
    if rule and rule["scope"] == "per_customer" and rule["group"] != "slot":
        for group in peak_groups(facts, facts.case.city[c], rule):
            sums.append((group, rule["max_reduction_percent"] / 100 * sum(facts.u[c, t] or 0.0 for t in group)))
    if rule := facts.case.limit("max_customer_shift"):
        sums += [(facts.of_day(d), rule["percent"] / 100 * facts.day_usage(c, d)) for d in facts.days()]
    return sums


def may_carry(facts: Facts, c: str, i: int, j: int) -> bool:
    """Whether energy of a household may go from i to j: B3, H1, and what is asked of the factors."""
    case = facts.case
    if i == j or not facts.takes_part(c, i) or not facts.takes_part(c, j):
        return False
    if rule := case.limit("max_shift_window"):
        hours = abs((case.times[j] - case.times[i]).total_seconds()) / 3600
        if hours > rule["hours"] or (hours == rule["hours"] and not rule["inclusive"]):
            return False
    rule = case.limit("conservation")
    if rule and period(case, facts.day[i], rule["horizon"]) != period(case, facts.day[j], rule["horizon"]):
        return False
    if case.limit("only_saving_moves") is not None and not case.marginal[c][i] > case.marginal[c][j]:
        return False
    if case.limit("no_average_increase") is not None:
        before, after = case.average[c][i], case.average[c][j]
        if before is None or after is None or before < after:
            return False
    return True


def asked(facts: Facts, c: str, d: date) -> bool:
    """HighUsageFocus: whether the household is at or above the percentile of its city in that day or week."""
    model = facts.case.model
    if model["name"] != "HighUsageFocus" or not model["target_high_usage_customers"]:
        return True
    means = {}
    for other in facts.of_city(facts.case.city[c]):
        same = [e for e in facts.days() if period(facts.case, e, model["by"]) == period(facts.case, d, model["by"])]
        whole = [e for e in same if facts.complete(other, e)]
        if whole:
            means[other] = sum(facts.day_usage(other, e) for e in whole) / len(whole)
    return c in means and means[c] >= percentile(list(means.values()), model["percentile_threshold"]) - 1e-9


class Choices:
    """What may be chosen: the pairs (c, i, j) that may carry energy, and the most that may leave each slot."""

    def __init__(self, facts: Facts):
        self.facts, case = facts, facts.case
        self.high = {}
        for c in facts.customers:
            for t in facts.slots:
                if facts.takes_part(c, t) and asked(facts, c, facts.day[t]):
                    caps = [slot_cap_kwh(facts, c, t)] + [kwh for group, kwh in household_sums(facts, c) if t in group]
                    self.high[c, t] = min(caps)
        self.high = {key: kwh for key, kwh in self.high.items() if kwh > DUST_KWH and kwh >= least_move_kwh(facts, *key)}
        self.arcs = [(c, i, j) for c, i in self.high for j in facts.slots if may_carry(facts, c, i, j)]
        if rule := case.limit("min_day_potential"):
            self.arcs = [a for a in self.arcs if self._promises(a[0], a[1], rule) and self._promises(a[0], a[2], rule)]
        self._forget_idle()

    def saving(self, c: str, i: int, j: int) -> float:
        return self.facts.case.marginal[c][i] - self.facts.case.marginal[c][j]

    def best(self, c: str, i: int) -> float:
        return max(self.saving(*a) for a in self.arcs if a[:2] == (c, i))

    def _forget_idle(self) -> None:
        leaves = {a[:2] for a in self.arcs}
        self.high = {key: kwh for key, kwh in self.high.items() if key in leaves}

    def _promises(self, c: str, t: int, rule: dict) -> bool:
        """MinDayPotential: the day's best possible saving against the day's marginal emissions."""
        if not hasattr(self, "_promising"):
            self._promising, all_arcs = {}, list(self.arcs)
            for who in self.facts.customers:
                for d in self.facts.days():
                    day = self.facts.of_day(d)
                    grams = sum((self.facts.u[who, s] or 0.0) * (self.facts.case.marginal[who][s] or 0.0) for s in day)
                    potential = 0.0
                    for s in day:
                        savings = [self.saving(*a) for a in all_arcs if a[:2] == (who, s)]
                        potential += self.high.get((who, s), 0.0) * max([0.0, *savings])
                    self._promising[who, d] = potential >= rule["percent"] / 100 * grams - 1e-9
        return self._promising[c, self.facts.day[t]]

    def mean_best_saving(self) -> float:
        """λ where none is given: the mean, over all movable kWh, of the best saving within reach."""
        kwh = sum(self.high.values())
        return sum(h * self.best(*key) for key, h in self.high.items()) / kwh if kwh else 0.0

    def at(self, min_saving: float) -> "Choices":
        """Only what saves at least λ."""
        other = object.__new__(Choices)
        other.facts, other.high = self.facts, self.high
        other.arcs = [a for a in self.arcs if self.saving(*a) >= min_saving - 1e-9]
        other._forget_idle()
        return other


# ---- one linear programme for every set of moves -----------------------------------------------------------------


class Programme:
    """max Σ value·x over the pairs (c, i, j), rows written from the limits' statements; counts are left to the enumeration."""

    def __init__(self, choices: Choices, value: dict[tuple[str, int, int], float]):
        facts = choices.facts
        self.choices, self.facts, self.arcs = choices, facts, choices.arcs
        self.value = np.array([value[a] for a in self.arcs])
        self.by_pair = facts.case.pairs
        self.rows: list[np.ndarray] = []  # what holds for one household's slot
        self.kwh: list[float] = []
        for c, i in choices.high:
            self._row(lambda a, c=c, i=i: a[:2] == (c, i), slot_cap_kwh(facts, c, i))
        self.own_rows = len(self.rows)
        for c in facts.customers:
            for group, kwh in household_sums(facts, c):
                self._row(lambda a, c=c, group=group: a[0] == c and a[1] in group, kwh)
        for g in facts.cities:
            self._city_rows(g)
        model = facts.case.model.get("objective", facts.case.model)
        if model.get("max_total_shift_kwh") is not None:
            self._row(lambda a: True, model["max_total_shift_kwh"])
        self.matrix = np.array(self.rows).reshape(len(self.rows), len(self.arcs))
        self.limit = np.array(self.kwh)
        self.solved = 0

    def _row(self, holds, kwh: float, weight=lambda a: 1.0) -> None:
        self.rows.append(np.array([weight(a) if holds(a) else 0.0 for a in self.arcs]))
        self.kwh.append(kwh)

    def _city_rows(self, g: str) -> None:
        facts, case = self.facts, self.facts.case
        mine = lambda a: case.city[a[0]] == g
        if rule := case.limit("regional_shift_cap"):
            for d in facts.days():
                self._row(lambda a, d=d: mine(a) and facts.day[a[1]] == d, daily_cap_kwh(facts, g, rule))
        rule = case.limit("peak_hour_comfort")
        if rule and rule["scope"] == "per_city":
            for group in peak_groups(facts, g, rule):
                kwh = rule["max_reduction_percent"] / 100 * sum(facts.load[g, t] for t in group)
                self._row(lambda a, group=group: mine(a) and a[1] in group, kwh)
        if rule := case.limit("no_new_spike"):
            for t in facts.slots:
                room = most_load_kwh(facts, g, t, rule) - facts.load[g, t]
                self._row(lambda a, t=t: mine(a) and t in a[1:], room, lambda a, t=t: 1.0 if a[2] == t else -1.0)

    def moves(self) -> list[tuple]:
        """What may be counted as one move."""
        return list(self.arcs) if self.by_pair else list(self.choices.high)

    def _move(self, a: tuple[str, int, int]) -> tuple:
        return a if self.by_pair else a[:2]

    def solve(self, chosen: set) -> tuple[float, dict] | None:
        """The best value with these moves only, each carrying at least its least size; None where that cannot be."""
        use = np.array([self._move(a) in chosen for a in self.arcs], dtype=bool)
        if not use.any():
            return 0.0, {}
        least_rows, least = [], []
        arcs = [a for a, u in zip(self.arcs, use) if u]
        for move in sorted(chosen):
            kwh = least_move_kwh(self.facts, *move[:2])
            if kwh > 0:
                least_rows.append([-1.0 if self._move(a) == move else 0.0 for a in arcs])
                least.append(-kwh)
        matrix = np.vstack([self.matrix[:, use], *least_rows]) if least_rows else self.matrix[:, use]
        limit = np.concatenate([self.limit, least])
        keep = (matrix != 0).any(axis=1)
        self.solved += 1
        found = linprog(-self.value[use], A_ub=matrix[keep], b_ub=limit[keep], method="highs", options={"presolve": len(arcs) > 20})
        if found.status == 2:
            return None
        if found.status != 0:
            raise RuntimeError(found.message)
        return -found.fun, {a: float(kwh) for a, kwh in zip(arcs, found.x) if kwh > DUST_KWH}

    def relaxed(self, counts: list[tuple[list, int]]) -> tuple[float, np.ndarray]:
        """The value with the counts relaxed to Σ x / most ≤ n and no least sizes, and the prices of all rows but the slots' own."""
        count_rows = [[1 / self.choices.high[a[:2]] if self._move(a) in members else 0.0 for a in self.arcs] for members, _ in counts]
        matrix = np.vstack([self.matrix, *count_rows]) if count_rows else self.matrix
        limit = np.concatenate([self.limit, [n for _, n in counts]])
        found = linprog(-self.value, A_ub=matrix, b_ub=limit, method="highs")
        prices = np.maximum(-found.ineqlin.marginals[self.own_rows : len(self.limit)], 0.0)
        return -found.fun, prices

    def worth(self, prices: np.ndarray) -> tuple[float, dict]:
        """Weak duality: no choice reaches more than the constant plus the worth of its moves, at any prices ≥ 0."""
        after = self.value - prices @ self.matrix[self.own_rows :]
        worth: dict = defaultdict(float)
        for a, v in zip(self.arcs, after):
            worth[self._move(a)] = max(worth[self._move(a)], v * self.choices.high[a[:2]])
        return float(prices @ self.limit[self.own_rows :]), worth


# ---- every set of moves that the counts allow --------------------------------------------------------------------


def counts_of(facts: Facts, moves: list[tuple]) -> list[tuple[list, int]]:
    """B1 and B2: the moves of each household on each day and in each week, and how many of them there may be."""
    groups = []
    for key, name in (("max_moves_per_day", "day"), ("max_moves_per_week", "week")):
        if rule := facts.case.limit(key):
            members = defaultdict(list)
            for move in moves:
                members[move[0], period(facts.case, facts.day[move[1]], name)].append(move)
            groups += [(m, rule["limit"]) for m in members.values()]
    return groups


def allowed_sets(moves: list[tuple], counts: list[tuple[list, int]], maximal: bool) -> list[frozenset]:
    """All sets of one household's moves that no count forbids; only those that nothing can be added to where `maximal`."""
    sets = [frozenset()]
    for move in moves:
        touched = [(frozenset(m), n) for m, n in counts if move in m]
        sets += [s | {move} for s in sets if all(len(s & m) < n for m, n in touched)]
        if len(sets) > 20_000:
            raise TooLargeError
    if not maximal:
        return sets
    groups = [(frozenset(m), n) for m, n in counts]
    return [s for s in sets if all(any(move in m and len(s & m) >= n for m, n in groups) for move in moves if move not in s)]


def best_first(options: list[list[tuple[float, frozenset]]]):
    """Combinations of one option per household, the highest sum first."""
    ordered = [sorted(part, key=lambda o: -o[0]) for part in options]
    first = (0,) * len(ordered)
    heap, seen = [(-sum(part[0][0] for part in ordered), first)], {first}
    while heap:
        worth, place = heapq.heappop(heap)
        yield -worth, frozenset().union(*(part[k][1] for part, k in zip(ordered, place)))
        for q, part in enumerate(ordered):
            following = (*place[:q], place[q] + 1, *place[q + 1 :])
            if following[q] < len(part) and following not in seen:
                seen.add(following)
                value = worth + part[place[q]][0] - part[following[q]][0]
                heapq.heappush(heap, (value, following))


def enumerate_moves(choices: Choices, value: dict, most_programmes: int) -> tuple[float, dict, int]:
    """The best value and flows over all allowed sets of moves, and how many linear programmes it took."""
    if not choices.arcs:
        return 0.0, {}, 0
    facts, programme = choices.facts, Programme(choices, value)
    moves = programme.moves()
    counts = counts_of(facts, moves)
    _, prices = programme.relaxed(counts)
    constant, worth = programme.worth(prices)
    options = []
    for c in facts.customers:
        own = [(members, n) for members, n in counts if members[0][0] == c]
        sets = allowed_sets([m for m in moves if m[0] == c], own, facts.case.limit("min_move_size") is None)
        options.append([(sum(worth[m] for m in s), s) for s in sets])
    best, flows = 0.0, {}
    for bound, chosen in best_first(options):
        if constant + bound <= best + 1e-9 * max(1.0, abs(best)):
            break  # no later set can be better
        found = programme.solve(set(chosen))
        if found and found[0] > best:
            best, flows = found
        if programme.solved > most_programmes:
            raise TooLargeError
    return best, flows, programme.solved


def parts_of(case: Case) -> list[Case]:
    """What no limit ties together: the cities, unless there is one total over everything."""
    model = case.model.get("objective", case.model)
    if model.get("max_total_shift_kwh") is not None:
        return [case]
    parts = []
    for g in sorted(set(case.city.values())):
        who = [c for c in case.usage if case.city[c] == g]
        tables = {name: {c: getattr(case, name)[c] for c in who} for name in ("usage", "city", "marginal", "average")}
        parts.append(replace(case, **tables))
    return parts


def resolved_min_saving(case: Case) -> float | None:
    """The λ of the model, None where it has none."""
    model = case.model.get("objective", case.model)
    if model["name"] != "ConveniencePrioritised":
        return None
    given = model.get("min_saving_g_per_kwh")
    return max(0.0, Choices(Facts(case)).mean_best_saving()) if given is None else given


def optimum(case: Case, min_saving: float | None = None, tie_g: float = 0.0, most_programmes: int = 150) -> Optimum:
    """The best plan of a case; λ is the model's unless given. `tie_g` charges every kWh and minute moved (g)."""
    lam = resolved_min_saving(case) if min_saving is None else min_saving
    objective, flows, programmes = 0.0, {}, 0
    for part in parts_of(case):
        choices = Choices(Facts(part))
        choices = choices if lam is None else choices.at(lam)
        minutes = {a: abs((case.times[a[2]] - case.times[a[1]]).total_seconds()) / 60 for a in choices.arcs}
        value = {a: choices.saving(*a) - (lam or 0.0) - tie_g * minutes[a] for a in choices.arcs}
        best, found, number = enumerate_moves(choices, value, most_programmes)
        objective, flows, programmes = objective + best, flows | found, programmes + number
    grams = sum(kwh * (case.marginal[c][i] - case.marginal[c][j]) for (c, i, j), kwh in flows.items())
    return Optimum(objective, grams, sum(flows.values()), flows, lam, programmes)


def all_subsets_optimum(case: Case) -> float:
    """The same value without any pruning: every subset of all moves tried, those the counts forbid left out. Very small cases only."""
    lam = resolved_min_saving(case)
    choices = Choices(Facts(case))
    choices = choices if lam is None else choices.at(lam)
    if not choices.arcs:
        return 0.0
    programme = Programme(choices, {a: choices.saving(*a) - (lam or 0.0) for a in choices.arcs})
    moves = programme.moves()
    counts = counts_of(choices.facts, moves)
    best = 0.0
    for size in range(1, len(moves) + 1):
        for chosen in itertools.combinations(moves, size):
            if all(sum(m in chosen for m in members) <= n for members, n in counts):
                found = programme.solve(set(chosen))
                best = max(best, found[0] if found else 0.0)
    return best


# ---- a plan judged by the same statements ------------------------------------------------------------------------


def faults_of(case: Case, flows: dict[tuple[str, int, int], float], min_saving: float | None, tolerance_kwh: float = 1e-6) -> list[str]:
    """What a plan's flows break, in words; empty where they keep every statement."""
    facts = Facts(case)
    choices = Choices(facts)
    choices = choices if min_saving is None else choices.at(min_saving - 1e-9)
    found = [f"{a} may not carry energy" for a in flows if a not in set(choices.arcs)]
    if found or not flows:
        return found
    programme = Programme(choices, defaultdict(float))
    x = np.array([flows.get(a, 0.0) for a in programme.arcs])
    over = programme.matrix @ x - programme.limit
    found += [f"row {k} is {over[k]:.2g} kWh over its {programme.limit[k]:.6g} kWh" for k in np.flatnonzero(over > tolerance_kwh)]
    moved: dict = defaultdict(float)
    for a, kwh in flows.items():
        moved[a if case.pairs else a[:2]] += kwh
    for members, limit in counts_of(facts, sorted(moved)):
        if len(members) > limit:
            found.append(f"{len(members)} moves {members}, at most {limit}")
    for move, kwh in moved.items():
        if kwh < least_move_kwh(facts, *move[:2]) - tolerance_kwh:
            found.append(f"move {move} carries only {kwh:.6g} kWh")
    return found
