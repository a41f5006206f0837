"""Synthetic households: repeatable to the byte, like the published figures, and clear about what cannot be made."""

from datetime import date, datetime

import numba
import numpy as np
import polars as pl
import pytest

from dr_opt.basics import InputError
from dr_opt.synthesis import Habits, Peak, along_the_year, cities, month_corners, split_customers, synthesise, synthesise_arrays

SCHEMA = {
    "ca_id": pl.String,
    "date": pl.Datetime("us", "Asia/Kolkata"),
    "city": pl.String,
    "value": pl.Float64,
    "demand_met_kWh": pl.Float64,
    "marginal_emissions_grams_co2_per_kWh": pl.Float64,
    "average_emissions_grams_co2_per_kWh": pl.Float64,
}


def faults(**wrong):
    with pytest.raises(InputError) as caught:
        synthesise(**wrong)
    return list(caught.value.faults)


# ---- the table

def test_schema_order_and_size():
    table = synthesise(customers=50, days=3)
    assert dict(table.schema) == SCHEMA
    assert table.height == 50 * 3 * 48
    assert table.equals(table.sort("city", "ca_id", "date"))
    assert table.null_count().sum_horizontal().item() == 0
    assert table.select("ca_id", "date").is_unique().all()
    assert table["value"].min() >= 0
    assert table["date"].min() == datetime.fromisoformat("2025-11-03T00:00:00+05:30")


def test_values_are_whole_watt_hours():
    watt_hours = synthesise("delhi", 20, 2)["value"].to_numpy() * 1000
    assert np.allclose(watt_hours, watt_hours.round(), atol=1e-9)


def test_table_and_arrays_agree():
    table = synthesise(customers=30, days=2, seed=5)
    usage, factors = synthesise_arrays("mumbai", 7, 2, seed=5)
    mumbai = table.filter(pl.col("city") == "mumbai")
    assert mumbai.height == 7 * 96
    assert np.array_equal(mumbai["value"].to_numpy().astype(np.float32), usage.ravel())
    assert mumbai["marginal_emissions_grams_co2_per_kWh"].to_list()[:96] == factors.marginal_g_per_kwh.tolist()


def test_customers_are_split_as_in_the_study():
    assert split_customers(["delhi", "mumbai"], 238_479) == {"delhi": 184_640, "mumbai": 53_839}
    assert split_customers(["delhi", "mumbai"], 2) == {"delhi": 1, "mumbai": 1}
    assert split_customers(["mumbai"], 9) == {"mumbai": 9}
    for customers in (3, 10, 999, 1000):
        assert sum(split_customers(["delhi", "mumbai"], customers).values()) == customers


# ---- the same bytes

def test_same_seed_same_bytes_other_seed_other_bytes():
    first, again, other = (synthesise_arrays("delhi", 60, 5, seed=seed) for seed in (3, 3, 4))
    assert first[0].tobytes() == again[0].tobytes() != other[0].tobytes()
    for ours, theirs in zip(first[1], again[1], strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert first[1].average_g_per_kwh.tobytes() != other[1].average_g_per_kwh.tobytes()
    assert synthesise(customers=20, days=2).equals(synthesise(customers=20, days=2))


def test_chunks_and_threads_change_nothing():
    whole, _ = synthesise_arrays("delhi", 2_500, 2)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        pieces = [synthesise_arrays("delhi", n, 2, first_customer=first)[0] for first, n in ((0, 7), (7, 1_500), (1_507, 993))]
    finally:
        numba.set_num_threads(threads)
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


def test_a_day_does_not_depend_on_the_run_around_it():
    long, long_factors = synthesise_arrays("mumbai", 10, 40, "2025-02-01")
    short, short_factors = synthesise_arrays("mumbai", 10, 3, "2025-02-27")
    assert long[:, 26 * 48 : 29 * 48].tobytes() == short.tobytes()
    assert np.array_equal(long_factors.average_g_per_kwh[26 * 48 : 29 * 48], short_factors.average_g_per_kwh)


def test_cities_differ_but_share_the_grid():
    delhi, mumbai = synthesise_arrays("delhi", 5, 2), synthesise_arrays("mumbai", 5, 2)
    assert not np.array_equal(delhi[0], mumbai[0])
    assert all(np.array_equal(a, b) for a, b in zip(delhi[1], mumbai[1], strict=True))


# ---- like the real thing

def test_level_of_november_is_the_studys():
    usage, _ = synthesise_arrays("delhi", 6_000, 30, "2025-11-01")
    assert usage.sum(axis=1).mean() / 30 == pytest.approx(9.44, rel=0.04)


def test_expected_mean_is_kept_by_all_the_chance():
    # No spread between households, no weather: what is left of chance (days, spikes, ripple, absence) must not move the mean.
    calm = Habits(size_sigma=0, cooling_sigma=0, weather_sigma=0)
    cities["calm"] = cities["delhi"].model_copy(update={"habits": calm})
    try:
        usage, _ = synthesise_arrays("calm", 3_000, 28, "2025-06-02")
    finally:
        del cities["calm"]
    expected = along_the_year(cities["delhi"].kwh_per_day(), [date(2025, 6, d) for d in range(2, 30)]).mean()
    assert usage.sum(axis=1).mean() / 28 == pytest.approx(expected, rel=0.005)


def test_sizes_are_lognormal():
    usage, _ = synthesise_arrays("delhi", 4_000, 14)
    logs = np.log(usage.mean(axis=1))
    scores = (logs - logs.mean()) / logs.std()
    assert logs.std() == pytest.approx(0.65, abs=0.05)
    assert abs((scores**3).mean()) < 0.15  # skewness
    assert abs((scores**4).mean() - 3) < 0.4  # kurtosis


def test_summer_is_higher_and_later_than_winter():
    june, _ = synthesise_arrays("delhi", 1_500, 28, "2025-06-02")
    november, _ = synthesise_arrays("delhi", 1_500, 28, "2025-11-03")
    assert 1.7 < june.mean() / november.mean() < 2.3
    by_hour = [usage.mean(axis=0).reshape(28, 24, 2).sum(axis=(0, 2)) for usage in (june, november)]
    afternoon = [hours[13:17].sum() / hours.sum() for hours in by_hour]
    assert afternoon[0] > 1.2 * afternoon[1]
    assert by_hour[1].argmax() in range(8, 14)


def test_weekends_are_later():
    usage, _ = synthesise_arrays("delhi", 1_500, 28, "2025-11-03")
    mean = usage.mean(axis=0).reshape(4, 7, 48).mean(axis=0)
    before_nine = mean[:, 14:18].sum(axis=1) / mean.sum(axis=1)
    assert before_nine[5:].max() < before_nine[:5].min()


def test_households_are_spiky_and_always_on():
    usage, _ = synthesise_arrays("delhi", 1_000, 28)
    mean = usage.mean(axis=1)
    assert 0.7 < np.median(usage.std(axis=1) / mean) < 1.3
    assert np.median(usage.max(axis=1) / mean) > 5
    assert 0.05 < np.median(np.percentile(usage, 5, axis=1) / mean) < 0.35


@pytest.mark.parametrize("start", ["2025-01-06", "2025-04-07", "2025-11-03"])
def test_marginal_and_average_run_against_each_other(start):
    _, grid = synthesise_arrays("delhi", 1, 28, start)
    hour = np.tile(np.arange(48) // 2, 28)
    midday, evening = (hour >= 11) & (hour < 15), (hour >= 18) & (hour < 21)
    assert grid.marginal_g_per_kwh[midday].mean() > grid.marginal_g_per_kwh[evening].mean() + 200
    assert grid.average_g_per_kwh[midday].mean() < grid.average_g_per_kwh[evening].mean() - 100
    assert np.corrcoef(grid.marginal_g_per_kwh, grid.average_g_per_kwh)[0, 1] < -0.2


def test_monsoon_evenings_stay_high():
    _, grid = synthesise_arrays("delhi", 1, 7, "2025-07-07")
    hour = np.tile(np.arange(48) // 2, 7)
    assert 700 < grid.marginal_g_per_kwh[(hour >= 18) & (hour < 21)].mean() < 850


def test_average_factor_differs_mildly_from_day_to_day():
    _, grid = synthesise_arrays("delhi", 1, 28, "2025-11-01")
    noon = grid.average_g_per_kwh.reshape(28, 48)[:, 24]
    assert 0.01 < noon.std() / noon.mean() < 0.07


# ---- any day of any year

@pytest.mark.parametrize("start, days", [("2024-02-26", 5), ("2025-12-29", 7), ("2028-02-29", 1), ("2026-06-30", 400), ("1950-01-01", 1)])
def test_any_start_date(start, days):
    usage, grid = synthesise_arrays("delhi", 3, days, start)
    assert usage.shape == (3, 48 * days)
    assert all(len(factor) == 48 * days and np.isfinite(factor).all() for factor in grid)
    assert np.isfinite(usage).all() and (usage >= 0).all()


def test_leap_day_is_there():
    table = synthesise("delhi", 1, 3, "2024-02-28")
    assert table["date"].dt.date().unique().sort().to_list() == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]


def test_start_as_date_string_or_datetime():
    tables = [synthesise("delhi", 2, 1, start) for start in ("2025-11-03", date(2025, 11, 3), datetime(2025, 11, 3, 12))]
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2])


@pytest.mark.parametrize("year", [2024, 2025])
def test_monthly_means_come_out_right(year):
    wanted = cities["delhi"].kwh_per_day()
    days = [date(year, 1, 1).fromordinal(date(year, 1, 1).toordinal() + k) for k in range(366 if year == 2024 else 365)]
    course, month = along_the_year(wanted, days), np.array([day.month for day in days])
    assert np.allclose([course[month == m].mean() for m in range(1, 13)], wanted, rtol=0.003)
    assert np.allclose(month_corners([2.0] * 12), 2.0)


# ---- what cannot be made

def test_wrong_arguments_in_exact_words():
    assert faults(city="dehli") == ["'dehli' is not a known city (delhi, mumbai). Did you mean 'delhi'?"]
    assert faults(customers=-5) == ["customers is -5. Give a whole number of at least 1."]
    assert faults(customers=2.5) == ["customers is 2.5. Give a whole number of at least 1."]
    assert faults(customers=1) == ["customers is 1, fewer than the 2 cities. Give at least one customer for each city."]
    assert faults(days=0) == ["days is 0. Give a whole number of at least 1."]
    assert faults(seed=-1) == ["seed is -1. Give a whole number of at least 0."]
    assert faults(start="2025-02-30") == ["start is '2025-02-30', which is not a date. Write it as '2025-11-03'."]
    assert faults(start=None) == ["start is None, which is not a date. Write it as '2025-11-03'."]
    assert faults(start="1912-01-01") == ["start 1912-01-01 lies outside 1950 to 2199. Choose a date within."]
    assert faults(city=[]) == ["city is []. Name at least one city, and each of them once."]
    assert faults(city=["delhi", "delhi"]) == ["city is ['delhi', 'delhi']. Name at least one city, and each of them once."]


def test_all_faults_at_once():
    assert len(faults(city=["dehli", "mumbai"], customers=0, days=-1, start="soon", seed="x")) == 5
    with pytest.raises(InputError) as caught:
        synthesise_arrays("delhi", 5, 1, first_customer=-1)
    assert caught.value.faults == ("first_customer is -1. Give a whole number of at least 0.",)


def test_a_city_of_ones_own():
    cities["pune"] = cities["mumbai"].model_copy(update={"base_kwh_per_day": 5.0, "heating_peaks": (Peak(hour=7, width_hours=1, share=1),)})
    try:
        assert synthesise(["pune", "delhi"], 10, 1)["city"].unique().sort().to_list() == ["delhi", "pune"]
    finally:
        del cities["pune"]


def test_negative_energy_is_refused():
    profile = cities["delhi"].model_dump()
    with pytest.raises(ValueError, match=r"holds a negative month\. Give kWh per day, 0 where there is none\."):
        type(cities["delhi"])(**profile | {"heating_kwh_per_day": (-1,) * 12})
