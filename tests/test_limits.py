"""Every limit three ways, on random small data: as its statement says, as solvers read it (`kinds`), as the audit reads it (`check`).

The statements are worked out here one household and one slot at a time, on plain dictionaries; kinds are taken literally, as
sums over arrays. All three must say the same of random flows, scaled until the limit is just kept and just broken.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from itertools import product
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from dr_opt.blocks import Block, city_arrays, make_blocks
from dr_opt.calendar import Calendar
from dr_opt.constraints.behavioural import (
    STUDY_PEAK_HOURS,
    MaxCustomerShift,
    MaxMovesPerDay,
    MaxMovesPerWeek,
    MaxShiftWindow,
    MinMoveSize,
    PeakHourComfort,
)
from dr_opt.constraints.conservation import Conservation, IntraCustomer, MinDayPotential, NoAverageIncrease, OnlySavingMoves
from dr_opt.constraints.technical import HouseholdMinimumUsage, NoNewSpike, RegionalShiftCap
from dr_opt.intake import Columns
from dr_opt.problem import ArcMask, Arcs, CitySum, CustomerSum, DayChoice, Kind, Limit, MoveCount, SlotLimit, build_problem, limits
from dr_opt.readings import Readings, handle_missing, read_readings
from dr_opt.tables import Check, Tables, check_availability, empty_shifts, example_readings, example_tables, labelled_readings

TOLERANCE_KWH = 1e-6
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Flow = tuple[str, int, int, float]  # customer, minute (UTC) it leaves and arrives, kWh

# ---- random small data -------------------------------------------------------------------------------------------

CALENDARS = [  # where, slots, first date, dates: days that wrap, days of few hours, clocks that change, ends of months and years
    ("Asia/Kolkata", 60, (0, 23), "monday", date(2025, 11, 27), 6),
    ("Asia/Kolkata", 30, (6, 5), "thursday", date(2025, 11, 28), 4),
    ("Asia/Kolkata", 15, (8, 20), "iso", date(2025, 12, 30), 3),
    ("Europe/Zurich", 60, (0, 23), "sunday", date(2025, 10, 23), 9),
    ("Europe/Zurich", 30, (22, 4), "wednesday", date(2025, 10, 24), 4),
    ("Europe/Zurich", 15, (0, 23), "saturday", date(2026, 3, 28), 3),
    ("Europe/Zurich", 60, (3, 2), "friday", date(2026, 3, 26), 8),
    ("Europe/Zurich", 30, (1, 3), "tuesday", date(2025, 10, 25), 9),
    ("Asia/Kolkata", 60, (20, 18), "iso", date(2025, 12, 26), 10),
]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One reading, as the package read it; None where missing."""

    usage: float | None
    marginal: float | None
    average: float | None
    good: bool


class Data:
    """Readings as plain dictionaries, with the labels of time worked out one minute at a time."""

    def __init__(self, readings: Readings):
        self.readings, self.calendar = readings, readings.calendar
        self.zone = ZoneInfo(self.calendar.timezone)
        columns = ("customer_id", "city", "time", "usage_kwh", "marginal_g_per_kwh", "average_g_per_kwh", "quality")
        self.rows: dict[tuple[str, int], Row] = {}
        self.city: dict[str, str] = {}
        table = readings.frame.select(columns).with_columns(pl.col("time").dt.epoch("s") // 60, pl.col("quality").cast(pl.String))
        for customer, city, minute, usage, marginal, average, quality in table.iter_rows():
            self.rows[customer, minute] = Row(usage, marginal, average, quality == "good")
            self.city[customer] = city
        self.minutes = sorted({minute for _, minute in self.rows})
        step = self.calendar.slot_minutes
        around = range(self.minutes[0] - 2880, self.minutes[-1] + 2880, step)
        self.clock = {m: datetime.fromtimestamp(m * 60, UTC).astimezone(self.zone) for m in around}
        self.day = {m: self._counting_day(time) for m, time in self.clock.items()}

    def _counting_day(self, time: datetime) -> date | None:
        """The counting day begins at `first`; hours outside take no part."""
        first, last = self.calendar.day_boundaries
        if first <= last:
            return time.date() if first <= time.hour <= last else None
        if time.hour >= first:
            return time.date()
        return time.date() - timedelta(days=1) if time.hour <= last else None

    def period(self, minute: int, name: str) -> object:
        day = self.day[minute]
        if day is None or name == "day":
            return day
        if name == "week":
            begins = {"iso": "monday"}.get(self.calendar.week_boundaries, self.calendar.week_boundaries)[:3]
            return day - timedelta(days=(day.weekday() - DAYS.index(begins)) % 7)
        return (day.year, day.month) if name == "month" else day.year

    def usage(self, customer: str, minute: int) -> float:
        row = self.rows.get((customer, minute))
        return 0.0 if row is None or row.usage is None else row.usage

    def day_sum(self, customer: str, day: date | None) -> float:
        return sum(self.usage(customer, m) for m in self.minutes if self.day[m] == day)

    @cached_property
    def load(self) -> dict[tuple[str, int], float]:
        """Load of each city and slot in which anybody has a reading."""
        load: dict[tuple[str, int], float] = defaultdict(float)
        for (customer, minute), row in self.rows.items():
            if row.usage is not None:
                load[self.city[customer], minute] += row.usage
        return dict(load)

    @cached_property
    def complete_days(self) -> set[tuple[str, date]]:
        """Days every slot of which has a reading and a marginal factor."""
        found, slots = set(), defaultdict(list)
        for minute, day in self.day.items():
            if day is not None:
                slots[day].append(minute)
        for customer, (day, of_day) in product(self.city, slots.items()):
            rows = [self.rows.get((customer, minute)) for minute in of_day]
            if all(row is not None and row.usage is not None and row.marginal is not None for row in rows):
                found.add((customer, day))
        return found

    def takes_part(self, customer: str, minute: int) -> bool:
        row = self.rows.get((customer, minute))
        return row is not None and row.good and (customer, self.day[minute]) in self.complete_days


@cache
def random_data(number: int) -> Data:
    """A few households in one or two cities, with readings missing, negative, too large, absent and filled."""
    rng = np.random.default_rng(number)
    zone, slot, boundaries, week, first, dates = CALENDARS[number % len(CALENDARS)]
    calendar = Calendar(timezone=zone, slot_minutes=slot, day_boundaries=boundaries, week_boundaries=week)
    start, end = (
        int(datetime.combine(d, datetime.min.time(), ZoneInfo(zone)).timestamp()) // 60 for d in (first, first + timedelta(dates))
    )
    minutes = np.arange(start, end, slot)
    cities = [["delhi"], ["pune"], ["delhi", "pune"], ["Mumbai", "pune"]][rng.integers(4)]
    own_factors = rng.random() < 0.3
    shared = {city: (rng.integers(4, 10, len(minutes)) * 100.0, rng.integers(5, 8, len(minutes)) * 100.0) for city in cities}
    parts = []
    for k in range(int(rng.integers(2, 5))):
        usage = np.round(rng.gamma(1.2, 0.5, len(minutes)), 3) if number % 2 else rng.integers(0, 5, len(minutes)) / 10
        usage[rng.random(len(minutes)) < 0.01] = rng.choice([np.nan, -0.2, 9999.0])
        marginal, average = shared[cities[k % len(cities)]]
        if own_factors:
            marginal = marginal + rng.integers(0, 3, len(minutes)) * 50
        average = np.where(rng.random(len(minutes)) < 0.05, np.nan, average) if own_factors else average
        rows = {"ca_id": f"c{k}", "city": cities[k % len(cities)], "minute": minutes, "value": usage, "m": marginal, "a": average}
        absent = rng.random(len(minutes)) < (0.01 if rng.random() < 0.5 else 0.0)
        parts.append(pl.DataFrame(rows).filter(~absent))
    frame = pl.concat(parts).with_columns(pl.col("value", "a").fill_nan(None))
    time = (pl.col("minute") * 60_000_000).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone)
    frame = frame.with_columns(date=time).drop("minute")
    readings = read_readings(frame, columns=Columns(marginal="m", average="a"), calendar=calendar, show_progress=False)
    return Data(handle_missing(readings, "interpolate") if rng.random() < 0.5 else readings)


def blocks_of(data: Data, periods: Sequence[str]) -> list[Block]:
    cities = city_arrays(data.readings)
    return make_blocks(cities, [city.complete & city.good for city in cities], periods)


def random_flows(data: Data, blocks: Sequence[Block], rng: np.random.Generator) -> list[Flow]:
    """Some flows between slots of one block that may give and receive, crowded into few hours; a slot may have several."""
    block = blocks[rng.integers(len(blocks))]
    rows = rng.choice(len(block.give), min(len(block.give), int(rng.integers(1, 4))), replace=False)
    first = rng.integers(len(block.slots))
    found: dict[tuple[str, int, int], float] = {}
    for _ in range(int(rng.choice([1, 1, 2, 4, 8]))):
        c = int(rng.choice(rows))
        able = np.flatnonzero(block.give[c])
        near = able[np.argsort(abs(able - first))[: int(rng.choice([3, 6, 30, 10_000]))]]
        if len(near) > 1:
            i, j = rng.choice(near, 2, replace=False)
            if rng.random() < 0.3:  # where most is used, most may leave
                i = able[block.usage_kwh[c, able].argmax()]
                j = able[abs(able - i).argsort()[1]]
            found[str(block.customers[c]), int(block.slots.minute[i]), int(block.slots.minute[j])] = float(rng.uniform(0.05, 1.0))
    return [(*key, kwh) for key, kwh in found.items()]


# ---- what a statement says: the room that is left, kWh, moves, or -1 for a shift that may not be ------------------


def moves_of(flows: Sequence[Flow], pairs: bool) -> dict[tuple, float]:
    """kWh of each move: customer and slot, or customer and both slots."""
    moves: dict[tuple, float] = defaultdict(float)
    for customer, i, j, kwh in flows:
        moves[(customer, i, j) if pairs else (customer, i)] += kwh
    return moves


def out_of(flows: Sequence[Flow]) -> dict[tuple, float]:
    return moves_of(flows, False)


def sums(pairs: Iterator[tuple[object, float]]) -> dict[object, float]:
    found: dict[object, float] = defaultdict(float)
    for key, value in pairs:
        found[key] += value
    return found


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the order statistics."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (place - low)


def counted(data: Data, flows: Sequence[Flow], pairs: bool, period: str, limit: int) -> Iterator[float]:
    number = Counter((move[0], data.period(move[1], period)) for move in moves_of(flows, pairs))
    yield from (limit - n for n in number.values())


def max_moves_per_day(data: Data, limit: MaxMovesPerDay, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    yield from counted(data, flows, pairs, "day", limit.limit)


def max_moves_per_week(data: Data, limit: MaxMovesPerWeek, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    yield from counted(data, flows, pairs, "week", limit.limit)


def max_shift_window(data: Data, limit: MaxShiftWindow, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    for _, i, j, _ in flows:
        yield 0.0 if abs(i - j) < limit.hours * 60 or (limit.inclusive and abs(i - j) == limit.hours * 60) else -1.0


def peak_hours(data: Data, limit: PeakHourComfort, city: str) -> dict[str, Sequence[int]]:
    """Those given, those of the study, or the six of highest mean load of a slot of each weekday; the earlier among equals."""
    if given := (limit.peak_hours or {}).get(city) or STUDY_PEAK_HOURS.get(city.lower()):
        return dict(given)
    found: dict[str, Sequence[int]] = {}
    for number, name in enumerate(DAYS):
        loads = defaultdict(list)
        for (g, m), kwh in data.load.items():
            if g == city and data.clock[m].weekday() == number:
                loads[data.clock[m].hour].append(kwh)
        found[name] = sorted(loads, key=lambda h: (-round(math.fsum(loads[h]) / len(loads[h]), 9), h))[:6]
    return found


def peak_hour_comfort(data: Data, limit: PeakHourComfort, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    for whose in sorted(set(data.city.values())) if limit.scope == "per_city" else data.city:
        members = {c for c, g in data.city.items() if whose in (c, g)}
        hours = peak_hours(data, limit, next(data.city[c] for c in members))
        groups = defaultdict(list)
        for m in data.minutes:
            time = data.clock[m]
            if data.day[m] is not None and time.hour in hours.get(DAYS[time.weekday()], ()):
                groups[{"slot": m, "hour": (time.date(), time.hour), "day": data.day[m]}[limit.group]].append(m)
        group_of = {m: key for key, group in groups.items() for m in group}
        moved = sums((group_of[i], kwh) for (c, i), kwh in out_of(flows).items() if c in members and i in group_of)
        for key, kwh in moved.items():
            used = sum(data.usage(c, m) for c in members for m in groups[key])
            yield limit.max_reduction_percent / 100 * used - kwh


def max_customer_shift(data: Data, limit: MaxCustomerShift, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    for (c, day), kwh in sums(((c, data.day[i]), kwh) for (c, i), kwh in out_of(flows).items()).items():
        yield limit.percent / 100 * data.day_sum(c, day) - kwh


def least_kwh(data: Data, limit: MinMoveSize, c: str, i: int) -> float:
    return limit.kwh if limit.kwh is not None else limit.percent_of_day / 100 * data.day_sum(c, data.day[i])


def min_move_size(data: Data, limit: MinMoveSize, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    for move, kwh in moves_of(flows, pairs).items():
        yield kwh - least_kwh(data, limit, move[0], move[1])


def regional_shift_cap(data: Data, limit: RegionalShiftCap, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    for (city, _), kwh in sums(((data.city[c], data.day[i]), kwh) for (c, i), kwh in out_of(flows).items()).items():
        average = (limit.daily_average_load_kwh or {}).get(city)
        if average is None:
            loads = {m: load for (g, m), load in data.load.items() if g == city}
            average = sum(loads.values()) / len({data.clock[m].date() for m in loads})
        yield limit.percent / 100 * average - kwh


def floor_kwh(data: Data, limit: HouseholdMinimumUsage, c: str, minute: int) -> float:
    """max(baseline, R % × robust max) over the good readings of the same period and bucket."""

    def group(m: int) -> object:
        if limit.baseline_period == "day":
            return data.day[m]
        t = data.clock[m]
        bucket = {"slot_of_day": (t.hour, t.minute), "hour_of_day": t.hour, "hour_of_week": (t.weekday(), t.hour)}[limit.time_bucket]
        return data.period(m, limit.baseline_period), bucket

    mine = [(m, data.rows[c, m]) for m in data.minutes if (c, m) in data.rows and data.day[m] is not None]
    alike = [row.usage for m, row in mine if row.good and row.usage is not None and group(m) == group(minute)]
    if not alike:
        return 0.0
    base = min(alike) if limit.baseline_type == "absolute_min" else sum(alike) / len(alike)
    return max(base, limit.percent_of_robust_max / 100 * percentile(alike, limit.robust_max_percentile))


def household_minimum_usage(data: Data, limit: HouseholdMinimumUsage, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    for (c, i), kwh in out_of(flows).items():
        yield max(0.0, data.usage(c, i) - floor_kwh(data, limit, c, i)) - kwh


def no_new_spike(data: Data, limit: NoNewSpike, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    change = sums(((data.city[c], end), sign * kwh) for c, i, j, kwh in flows for end, sign in ((i, -1), (j, 1)))
    for (city, minute), kwh in change.items():
        load = reference = data.load.get((city, minute), 0.0)
        if limit.baseline == "historical":
            clock = data.clock[minute].time()
            alike = [load for (g, m), load in data.load.items() if g == city and data.clock[m].time() == clock]
            reference = sum(alike) / len(alike) if alike else 0.0
        yield max((1 + limit.alpha_peak_cap_percent / 100) * reference, load) - load - kwh


def conservation(data: Data, limit: Conservation, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    for _, i, j, _ in flows:
        yield 0.0 if data.period(i, limit.horizon) == data.period(j, limit.horizon) else -1.0


def only_saving_moves(data: Data, limit: OnlySavingMoves, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    for c, i, j, _ in flows:
        yield 0.0 if data.rows[c, i].marginal > data.rows[c, j].marginal else -1.0


def no_average_increase(data: Data, limit: NoAverageIncrease, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    for c, i, j, _ in flows:
        before, after = data.rows[c, i].average, data.rows[c, j].average
        yield 0.0 if before is not None and after is not None and before >= after else -1.0


STATEMENTS = {
    "max_moves_per_day": max_moves_per_day, "max_moves_per_week": max_moves_per_week, "max_shift_window": max_shift_window,
    "peak_hour_comfort": peak_hour_comfort, "max_customer_shift": max_customer_shift, "min_move_size": min_move_size,
    "regional_shift_cap": regional_shift_cap, "household_minimum_usage": household_minimum_usage, "no_new_spike": no_new_spike,
    "conservation": conservation, "only_saving_moves": only_saving_moves, "no_average_increase": no_average_increase,
}  # fmt: skip

# ---- the other two readings --------------------------------------------------------------------------------------


def one_arc(block: Block, c: int, i: int, j: int) -> Arcs:
    """The arc of one flow, with its customer's factors."""
    marginal, average = block.marginal[block.factor_row[c]], block.average[block.factor_row[c]]
    numbers = (0, i, j, block.slots.minute[j] - block.slots.minute[i], marginal[i] - marginal[j], average[i] - average[j], np.nan)
    return Arcs(*(np.array([number]) for number in numbers))


def kinds_room(block: Block, kinds: Sequence[Kind], flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    """The room that kinds leave, taken literally. `flows` are those of the block."""
    row, slot = {c: k for k, c in enumerate(block.customers)}, {m: k for k, m in enumerate(block.slots.minute.tolist())}
    placed = [(row[c], slot[i], slot[j], kwh) for c, i, j, kwh in flows]
    out, inflow = np.zeros(block.shape), np.zeros(block.shape)
    for c, i, j, kwh in placed:
        out[c, i] += kwh
        inflow[c, j] += kwh
    moves = moves_of(placed, pairs)  # type: ignore[arg-type]
    for kind in kinds:
        if isinstance(kind, ArcMask):
            yield from (0.0 if kind.allows(one_arc(block, c, i, j))[0] else -1.0 for c, i, j, _ in placed)
        elif isinstance(kind, SlotLimit):
            lowest, highest = (np.broadcast_to(kwh, block.shape) for kwh in (kind.lowest_kwh, kind.highest_kwh))
            yield from (highest - out)[out > 0]
            yield from (kwh - lowest[move[0], move[1]] for move, kwh in moves.items())
        elif isinstance(kind, MoveCount):
            number = Counter((move[0], kind.group[move[1]]) for move in moves if kind.group[move[1]] >= 0)
            yield from (kind.limit - n for n in number.values())
        elif isinstance(kind, CustomerSum):
            for group in range(kind.limit_kwh.shape[1]):
                yield from kind.limit_kwh[:, group] - out[:, kind.group == group].sum(axis=1)
        elif isinstance(kind, CitySum):
            used = np.zeros(len(kind.limit_kwh))
            for triplets, moved in ((kind.out, out), (kind.inflow, inflow)):
                city = np.array([moved[block.city == g].sum(axis=0) for g in range(len(block.cities))]).ravel()
                for r, column, coefficient in zip(*triplets, strict=True) if triplets else ():
                    used[r] += coefficient * city[column]
            yield from kind.limit_kwh - used
        else:
            raise AssertionError(f"{kind} is no kind")


def tables_of(data: Data, flows: Sequence[Flow], constraints: dict[str, Limit], pairs: bool) -> Tables:
    """The plain tables of a plan of these flows."""
    names = {"customer_id": pl.String, "i": pl.Int64, "j": pl.Int64, "kwh": pl.Float64}
    time = {end: (pl.col(end) * 60_000_000).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(data.calendar.timezone) for end in "ij"}
    rows = pl.DataFrame(flows, schema=names, orient="row").with_columns(
        city=pl.col("customer_id").replace_strict(data.city, return_dtype=pl.String),
        day=pl.Series([data.day[i] for _, i, _, _ in flows], dtype=pl.Date), original_time=time["i"], shifted_time=time["j"],
    )  # fmt: skip
    return Tables(rows.select(empty_shifts(data.calendar).columns), labelled(data), data.calendar, constraints, pairs)


@cache
def labelled(data: Data) -> pl.DataFrame:
    return labelled_readings(data.readings)


# ---- every limit, every parameter --------------------------------------------------------------------------------

SOME_HOURS = {"delhi": {day: (k, k + 1, 8, 9, 20, 2) for k, day in enumerate(DAYS[:6], 10)}, "pune": {"sat": (1, 2, 3), "sun": (2, 8)}}


def choices() -> Iterator[Limit]:
    """Each class with each of its choices, tight enough to be broken now and then."""
    yield from (MaxMovesPerDay(limit=n) for n in (0, 1, 2))
    yield from (MaxMovesPerWeek(limit=n) for n in (1, 3))
    yield from (MaxShiftWindow(hours=h, inclusive=whole) for h, whole in product((0.5, 1, 2, 3.5), (True, False)))
    for scope, group, hours in product(("per_customer", "per_city"), ("slot", "hour", "day"), (None, SOME_HOURS)):
        yield PeakHourComfort(scope=scope, group=group, peak_hours=hours, max_reduction_percent=35)
    yield from (PeakHourComfort(max_reduction_percent=z) for z in (0, 100))
    yield from (MaxCustomerShift(percent=f) for f in (0, 15, 100))
    yield from (MinMoveSize(kwh=0.3), MinMoveSize(percent_of_day=2.5))
    yield from (RegionalShiftCap(percent=p, daily_average_load_kwh=kwh) for p, kwh in ((4, None), (0, None), (5, {"delhi": 12, "pune": 9})))
    periods, types, buckets = ("year", "month", "week", "day"), ("absolute_min", "average"), ("slot_of_day", "hour_of_day", "hour_of_week")
    for k, (period, kind, bucket) in enumerate(product(periods, types, buckets)):
        names = {"baseline_period": period, "baseline_type": kind, "time_bucket": bucket}
        yield HouseholdMinimumUsage(**names, robust_max_percentile=(95, 0, 37.5, 100)[k % 4], percent_of_robust_max=(10, 60, 90)[k % 3])
    yield from (NoNewSpike(alpha_peak_cap_percent=a, baseline=b) for a, b in product((0, 25, 80), ("same_day", "historical")))
    yield from (Conservation(horizon=period) for period in periods)
    yield from (OnlySavingMoves(), NoAverageIncrease())


def rooms(data: Data, blocks: Sequence[Block], limit: Limit, flows: Sequence[Flow], pairs: bool) -> tuple[float, float]:
    """The least room by the statement and by the kinds of all blocks."""
    said = min(STATEMENTS[limit.key](data, limit, flows, pairs), default=math.inf)
    left = [math.inf]
    for block in blocks:
        mine = set(zip(block.customers[np.nonzero(block.give)[0]], block.slots.minute[np.nonzero(block.give)[1]].tolist()))
        inside = [flow for flow in flows if flow[:2] in mine]
        assert all((c, j) in mine for c, _, j, _ in inside)
        left += kinds_room(block, limit.kinds(block), inside, pairs)
    return said, float(min(left))


def scales(data: Data, limit: Limit, flows: Sequence[Flow], pairs: bool) -> Iterator[float]:
    """Factors to multiply the flows by: as they are, and just to either side of where the statement begins or ceases to hold.

    Every room is a straight line in the factor, so two of its points tell where it reaches the tolerance.
    """
    yield 1.0
    once, twice = (
        np.array(list(STATEMENTS[limit.key](data, limit, [(*f[:3], f[3] * scale) for f in flows], pairs)), float) for scale in (1, 2)
    )
    slope = twice - once
    moving = abs(slope) > 1e-9
    edges = 1.0 - (once[moving] + TOLERANCE_KWH) / slope[moving]
    if len(edges):
        edge = edges.min() if slope[moving][0] < 0 or limit.key == "no_new_spike" else edges.max()
        yield from (edge * more for more in (0.99, 1.01) if edge > 1e-3)


def agree(limit: Limit, number: int, seed: int) -> Iterator[bool]:
    """Whether the limit is kept, for one set of flows at several scales, after all three have said the same."""
    rng = np.random.default_rng(seed)
    data, pairs = random_data(number), bool(rng.random() < 0.3)
    blocks = blocks_of(data, [limit.joins, ["day", "week", "month", "data", "run"][rng.integers(5)]])
    flows = random_flows(data, blocks, rng) if blocks else []
    for scale in list(scales(data, limit, flows, pairs)) if flows else []:
        scaled = [(*flow[:3], flow[3] * scale) for flow in flows]
        said, left = rooms(data, blocks, limit, scaled, pairs)
        check = limit.check(tables_of(data, scaled, {limit.key: limit}, pairs))
        if abs(said + TOLERANCE_KWH) < 1e-8:
            continue  # at the edge of the tolerance either answer is right
        kept = said >= -TOLERANCE_KWH
        about = f"{limit!r}, data {number}, seed {seed}, scale {scale}: statement {said}, kinds {left}, {check}"
        assert (left >= -TOLERANCE_KWH) == kept, about
        assert check.ok == kept, about
        if not kept and check.unit == "kWh" and limit.key != "conservation":
            assert check.worst_slack == pytest.approx(said, abs=1e-9), about
            assert left == pytest.approx(said, abs=1e-9), about
        yield kept


CHOICES = list(choices())


@pytest.mark.parametrize("limit", CHOICES, ids=lambda limit: f"{limit.key}: {limit}")
def test_statement_kinds_and_check_agree(limit: Limit) -> None:
    agree_on(limit, range(len(CALENDARS)), 2)


@pytest.mark.slow
@pytest.mark.parametrize("limit", CHOICES, ids=lambda limit: f"{limit.key}: {limit}")
def test_statement_kinds_and_check_agree_on_much_more(limit: Limit) -> None:
    agree_on(limit, range(100, 100 + 3 * len(CALENDARS)), 6)


def agree_on(limit: Limit, numbers: Sequence[int], seeds: int) -> None:
    """Agreement on all these data, the limit being kept at times and broken at times."""
    answers = Counter(kept for number in numbers for seed in range(seeds) for kept in agree(limit, number, 1000 * number + seed))
    assert sum(answers.values()) >= len(numbers)
    assert answers[True] or 0 in limit.model_dump().values()  # nothing may move at 0 moves or 0 %
    assert answers[False] or getattr(limit, "horizon", "day") != "day" or 100 in limit.model_dump().values()


def test_every_limit_has_its_statement() -> None:
    """And every value that a parameter may be chosen from is chosen."""
    assert set(limits) == {*STATEMENTS, "min_day_potential"}
    for key, limit in limits.items():
        mine = [choice for choice in CHOICES if choice.key == key]
        for name, field in limit.model_fields.items():
            for value in getattr(field.annotation, "__args__", ()):
                if isinstance(value, str):
                    assert any(getattr(choice, name) == value for choice in mine), (key, name, value)


@pytest.mark.parametrize("number", range(2 * len(CALENDARS)))
def test_who_takes_part(number: int) -> None:
    """Blocks and the audit agree on who may give and receive: good readings of complete counting days."""
    data = random_data(number)
    able = {(c, m) for c, m in data.rows if data.takes_part(c, m)}
    found = set()
    for block in blocks_of(data, ["week"]):
        assert np.array_equal(block.give, block.receive)
        found |= {(str(block.customers[c]), int(block.slots.minute[i])) for c, i in np.argwhere(block.give)}
    assert found == able
    rng = np.random.default_rng(number)
    keys = sorted(data.rows)
    for place in rng.choice(len(keys), 40):
        c, i = keys[place]
        j = int(rng.choice([m for who, m in keys if who == c and m != i]))
        check = check_availability(tables_of(data, [(c, i, j, 0.1)], {}, False))
        assert check.ok == ({(c, i), (c, j)} <= able)


# ---- days of promise, which look at the other limits ---------------------------------------------------------------


def promise(data: Data, others: Sequence[Limit], c: str, day: date) -> tuple[float, float]:
    """Grams that a day could save, each kWh that may leave at its best saving, and the grams it emits."""
    mine = [m for m in data.minutes if data.day[m] == day]
    grams = sum(data.usage(c, m) * (data.rows[c, m].marginal or 0.0) for m in mine if (c, m) in data.rows)
    masks = [o for o in others if o.key in ("max_shift_window", "conservation", "only_saving_moves", "no_average_increase")]
    least = next((o for o in others if o.key == "min_move_size"), None)
    able = [m for m in data.minutes if data.takes_part(c, m)]
    potential = 0.0
    for i in (m for m in mine if m in able):
        highest = most_out(data, others, c, i)
        if highest <= TOLERANCE_KWH or (least and highest < least_kwh(data, least, c, i)):
            continue
        reach = [j for j in able if j != i and all(next(STATEMENTS[o.key](data, o, [(c, i, j, 1.0)], False)) >= 0 for o in masks)]
        potential += highest * max([0.0, *(data.rows[c, i].marginal - data.rows[c, j].marginal for j in reach)])
    return potential, grams


def most_out(data: Data, others: Sequence[Limit], c: str, i: int) -> float:
    """The most that may leave a slot when nothing else does: the room of every limit on kWh, before anything moves."""
    highest = data.usage(c, i)
    for other in others:
        if other.key in ("household_minimum_usage", "peak_hour_comfort", "max_customer_shift"):
            highest = min([highest, *(room + 1.0 for room in STATEMENTS[other.key](data, other, [(c, i, i, 1.0)], False))])
    return highest


OTHERS = [
    [MaxShiftWindow(hours=2), OnlySavingMoves(), Conservation()],
    [MaxShiftWindow(hours=1), OnlySavingMoves(), Conservation(horizon="week"), HouseholdMinimumUsage()],
    [OnlySavingMoves(), Conservation(), PeakHourComfort(), MaxCustomerShift(percent=5)],
    [MaxShiftWindow(hours=5), NoAverageIncrease(), PeakHourComfort(group="slot", peak_hours=SOME_HOURS)],
    [MaxShiftWindow(hours=3), OnlySavingMoves(), Conservation(horizon="month"), MinMoveSize(kwh=0.4)],
]  # fmt: skip


@pytest.mark.parametrize("others", OTHERS, ids=lambda others: " ".join(other.key for other in others))
def test_days_of_promise(others: Sequence[Limit]) -> None:
    """A day that promises too little neither gives nor receives."""
    answers = Counter()
    for number in range(len(CALENDARS)):
        data, rng = random_data(number), np.random.default_rng(number)
        blocks = blocks_of(data, ["data"])
        if data.calendar.slot_minutes == 15 or not blocks:
            continue
        for _ in range(4):
            flows = random_flows(data, blocks, rng)
            days = {(c, data.day[end]) for c, i, j, _ in flows for end in (i, j)}
            promised = {key: promise(data, others, *key) for key in sorted(days)}
            if not flows or not all(grams for _, grams in promised.values()):
                continue
            shares = sorted(100 * potential / grams for potential, grams in promised.values())
            for percent in {min(100.0, max(0.0, share + more)) for share in (shares[0], shares[-1]) for more in (-0.01, 0.01)}:
                limit = MinDayPotential(percent=percent)
                kept = all(potential >= percent / 100 * grams for potential, grams in promised.values())
                enough = {}
                for block in blocks:
                    [kind] = limit.kinds(block)
                    assert isinstance(kind, DayChoice)
                    part = kind.takes_part(build_problem(block, others))
                    enough |= {
                        (str(block.customers[c]), m): bool(part[c, i])
                        for c in range(len(part)) for i, m in enumerate(block.slots.minute.tolist())
                    }  # fmt: skip
                check = limit.check(tables_of(data, flows, {o.key: o for o in [*others, limit]}, False))
                about = f"{percent} %, data {number}: {promised}, {check}"
                assert all(enough[c, i] and enough[c, j] for c, i, j, _ in flows) == kept, about
                assert check.ok == kept, about
                answers[kept] += 1
    assert answers[True] >= 5 and answers[False] >= 5, answers


# ---- energy stays in its horizon and with its household -----------------------------------------------------------------------------


def test_moves_that_cross_a_horizon_both_ways() -> None:
    """Each total stays, and yet both moves leave their horizon: neither solvers nor the audit allow it."""
    data = random_data(0)
    [block, *_] = blocks_of(data, ["run"])
    c = int(block.give.sum(axis=1).argmax())
    of_day = [
        np.flatnonzero(block.give[c] & (block.slots.day == day))[:2].tolist() for day in np.unique(block.slots.day[block.give[c]])[:2]
    ]
    (a, b), (d, e) = block.slots.minute[of_day].tolist()
    flows = [(str(block.customers[c]), a, d, 0.5), (str(block.customers[c]), e, b, 0.5)]
    limit = Conservation()
    assert rooms(data, [block], limit, flows, False) == (-1.0, -1.0)
    assert not limit.check(tables_of(data, flows, {}, False)).ok
    assert Conservation(horizon="year").check(tables_of(data, flows, {}, False)).ok


def london(first: date, usage: Sequence[float]) -> Data:
    """One household of London, hour by hour from midnight of `first` on."""
    begin = datetime.combine(first, datetime.min.time(), ZoneInfo("Europe/London")).astimezone(UTC)
    time = [begin + timedelta(hours=k) for k in range(len(usage))]
    frame = pl.DataFrame({"ca_id": "x", "city": "london", "date": time, "value": usage, "m": 800.0, "a": 500.0})
    frame = frame.with_columns(pl.col("date").dt.convert_time_zone("Europe/London"))
    calendar = Calendar(timezone="Europe/London", slot_minutes=60)
    return Data(read_readings(frame, columns=Columns(marginal="m", average="a"), calendar=calendar, show_progress=False))


FROM_TWO = [1.0 if hour in (7, 8, 18, 19, 20, 21) else 0.3 for hour in range(2, 24)]  # kWh from 02:00 on


@pytest.mark.parametrize(
    ("first", "usage", "busiest"),
    [  # 26 October has 01:00 twice, 30 March never
        (date(2025, 10, 26), [0.3, 0.6, 0.6, *FROM_TWO], [7, 8, 18, 19, 20, 21]),
        (date(2025, 10, 26), [0.3, 1.2, 1.2, *FROM_TWO], [1, 7, 8, 18, 19, 20]),
        (date(2025, 10, 26), [0.3, 2.0, 0.1, *FROM_TWO], [1, 7, 8, 18, 19, 20]),
        (date(2025, 3, 30), [0.3] * 23, [0, 2, 3, 4, 5, 6]),
    ],
    ids=["twice quiet", "twice busy", "busy once", "skipped"],
)  # fmt: skip
def test_peak_hours_where_the_clocks_change(first: date, usage: Sequence[float], busiest: Sequence[int]) -> None:
    """A mean over the hours that were there: one that comes twice is two hours, one that is skipped is none."""
    data, limit = london(first, usage), PeakHourComfort()
    [city] = city_arrays(data.readings)
    table = limit.peak_table(tables_of(data, [], {}, False))
    assert list(limit.hours_of(city)["sun"]) == busiest
    assert table.filter(pl.col("weekday") == 7)["hour"].sort().to_list() == busiest
    assert list(peak_hours(data, limit, "london")["sun"]) == busiest


@pytest.mark.parametrize(("boundaries", "week"), [("monday", "2025-11-17"), ("sunday", "2025-11-16"), ("iso", "2025-W47")])
def test_a_broken_week_is_named_as_the_calendar_names_it(boundaries: Literal["monday", "sunday", "iso"], week: str) -> None:
    calendar = Calendar(slot_minutes=60, week_boundaries=boundaries)
    readings = example_readings({"anita": [1.0] * 24}, [900.0] * 12 + [400.0] * 12, calendar=calendar)
    check = MaxMovesPerWeek(limit=1).check(example_tables(readings, [("anita", 0, 20, 0.5), ("anita", 1, 21, 0.5)]))
    assert not check.ok
    assert f"week {week}" in check.worst


def test_one_customer() -> None:
    """No kinds are needed; the check knows the households of each city."""
    for number in range(len(CALENDARS)):
        data, rng = random_data(number), np.random.default_rng(number)
        blocks = blocks_of(data, ["run"])
        flows = random_flows(data, blocks, rng) if blocks else []
        if not flows:
            continue
        tables = tables_of(data, flows, {}, False)
        assert IntraCustomer().check(tables).ok
        assert list(IntraCustomer().kinds(blocks[0])) == []
        elsewhere = tables.shifts.with_columns(city=pl.lit("agra"))
        assert not IntraCustomer().check(Tables(elsewhere, tables.readings, data.calendar, {})).ok
        nowhere = tables.shifts.head(1).with_columns(customer_id=pl.lit("stranger"), city=pl.lit(None, pl.String))
        answer = IntraCustomer().check(Tables(nowhere, tables.readings, data.calendar, {}))
        assert (answer.checked, answer.worst_slack, answer.ok) == (1, -1.0, False)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Check("comfort", 2, 0.0, "kWh", True, "city delhi"), "comfort holds: 2 checked, least room 0 kWh; city delhi."),
        (Check("comfort", 1200, 0.9 - 1.0, "kWh", False, "hour 5"), "comfort fails: 1,200 checked, least room -0.1 kWh; hour 5."),
        (Check("comfort", 1, -1e-12, "kWh", True), "comfort holds: 1 checked, least room 0 kWh."),
        (Check("comfort", 1, -0.1, "", False), "comfort fails: 1 checked, least room -0.1."),
        (Check("comfort", 0, None, "kWh", True), "comfort holds: 0 checked."),
        (Check("comfort", 2, None, "kWh", False, "customer_id dev"), "comfort fails: 2 checked; customer_id dev."),
    ],
)
def test_an_answer_reads_as_a_sentence_and_shows_all_of_itself(answer: Check, sentence: str) -> None:
    assert str(answer) == sentence
    assert eval(repr(answer)) == answer


def test_potential_is_the_same_however_few_households_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import dr_opt
    from dr_opt.constraints import conservation

    limits = {"min_day_potential": {"percent": 5}}
    scenario = dr_opt.Scenario.from_mapping({"constraints": limits, "solver": {"family": "greedy"}, "progress": False})
    readings = dr_opt.read_readings(dr_opt.synthesise("delhi", customers=12, days=3), show_progress=False)
    plan = dr_opt.optimise(readings, scenario)
    checks = []
    for pairs in (conservation.PAIRS_AT_ONCE, 1):
        monkeypatch.setattr(conservation, "PAIRS_AT_ONCE", pairs)
        checks.append(plan.audit().filter(pl.col("limit") == "min_day_potential").to_dicts())
    assert checks[0] == checks[1] and checks[0][0]["checked"] > 0
