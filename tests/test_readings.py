# ruff: noqa: E501 (sentences are kept whole)
"""Readings: every wrong input with its exact words, every decision with its exact count."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dr_opt.basics import InputError
from dr_opt.calendar import Calendar
from dr_opt.readings import Columns, FactorColumns, Readings, customer_days, handle_missing, read_readings
from dr_opt.validation import shared_factors

DATA = Path(__file__).parents[2] / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real readings are not here ({DATA})")
INDIA = ZoneInfo("Asia/Kolkata")
NAMES = Columns(customer="id", time="t", city="c", usage="u", marginal="m", average="a")


def whole_days(customer: object = "7", city: str = "delhi", days: int = 1, minutes: int = 30, start: datetime = datetime(2025, 11, 17)) -> pl.DataFrame:
    """Complete days of one customer: usage 0.5, 0.6, …; factors that change with the hour."""
    first = start.replace(tzinfo=start.tzinfo or INDIA)
    time = pl.datetime_range(first, first + timedelta(days=days), f"{minutes}m", closed="left", eager=True)
    k = pl.int_range(len(time), eager=True)
    return pl.DataFrame({
        "id": [customer] * len(time), "t": time, "c": [city] * len(time), "u": (0.5 + (k % 5) / 10).round(1),
        "m": 700.0 + time.dt.hour(), "a": 600.0 - time.dt.hour(),
    })  # fmt: skip


def read(frame: object, **more: object) -> Readings:
    return read_readings(frame, **({"columns": NAMES} | more))


def found(readings: Readings) -> dict[str, tuple[int, float | None]]:
    return {entry.what: (entry.rows, entry.kwh) for entry in readings.report.entries}


def with_usage(frame: pl.DataFrame, row: int, usage: float | None) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.int_range(pl.len()) == row).then(pl.lit(usage, pl.Float64)).otherwise("u").alias("u"))


DAY = whole_days()
TEXT_TIME = pl.col("t").dt.strftime("%Y-%m-%d %H:%M:%S")
COLUMNS_OF_DAY = "id, t, c, u, m, a"
WRONG = {
    "no such column": (DAY.rename({"u": "usage"}), {}, "columns.usage names 'u', which is not among the columns of readings (id, t, c, usage, m, a). Set columns.usage to the column that holds it."),
    "a slip in a name": (DAY, {"columns": Columns(customer="idd", time="t", city="c", usage="u", marginal="m", average="a")},
        f"columns.customer names 'idd', which is not among the columns of readings ({COLUMNS_OF_DAY}). Did you mean 'id'?"),
    "no city": (DAY.drop("c"), {}, "columns.city names 'c', which is not among the columns of readings (id, t, u, m, a). Set columns.city to the column that holds it. Set columns.city to null if all readings are of one city."),
    "no average": (DAY.drop("a"), {}, "columns.average names 'a', which is not among the columns of readings (id, t, c, u, m). Set columns.average to the column that holds it. Set columns.average to null to leave the average figures out."),
    "no marginal": (DAY.drop("m"), {}, "columns.marginal names 'm', which is not among the columns of readings (id, t, c, u, a). Set columns.marginal to the column that holds it. Or give the factors as a table of their own (factors)."),
    "one column twice": (DAY, {"columns": Columns(customer="id", time="t", city="c", usage="u", marginal="u", average="a")},
        "columns.usage names 'u', which another role has as well. Give each its own column.\ncolumns.marginal names 'u', which another role has as well. Give each its own column."),
    "two faults at once": (DAY.drop("u").with_columns(pl.col("t").dt.date()), {},
        "columns.time 't' holds Date, not times of day. Give the start of each slot, with its time zone.\n"
        "columns.usage names 'u', which is not among the columns of readings (id, t, c, m, a). Set columns.usage to the column that holds it."),
    "naive times": (DAY.with_columns(pl.col("t").dt.replace_time_zone(None)), {}, "columns.time 't' has times without a time zone. Add it: .with_columns(pl.col(\"t\").dt.replace_time_zone(\"Asia/Kolkata\"))."),
    "naive text": (DAY.with_columns(TEXT_TIME), {}, "columns.time 't' holds '2025-11-17 00:00:00', which is not a time with a time zone. Write 2025-11-17T00:00:00+05:30."),
    "unreadable time": (DAY.with_columns(pl.lit("17/11/2025 08:00").alias("t")), {}, "columns.time 't' holds '17/11/2025 08:00', which is not a time we can read. Write ISO 8601 with the offset, such as 2025-11-17T08:30:00+05:30."),
    "time as a number": (DAY.with_columns(pl.col("t").dt.epoch("s")), {}, "columns.time 't' holds Int64, not times of day. Give the start of each slot, with its time zone."),
    "junk among usage": (DAY.with_columns(pl.col("u").cast(pl.String).replace("0.9", "0,9")), {}, "columns.usage 'u' holds '0,9', which is not a number. Mend it, or leave it empty."),
    "usage of truth": (DAY.with_columns(pl.col("u") > 0.6), {}, "columns.usage 'u' holds Boolean, not numbers. Name a column of numbers."),
    "identifier with a point": (DAY.with_columns(pl.lit(7.5).alias("id")), {}, "columns.customer 'id' holds Float64. Give identifiers as text or whole numbers."),
    "empty": (DAY.clear(), {}, "readings holds no rows. Give at least one day of them."),
    "nothing usable": (DAY.with_columns(u=pl.lit(None, pl.Float64)), {}, "readings hold no usable reading (48 usage null or not a number). Check columns, usage_unit and max_plausible_kwh."),
    "all off the grid": (DAY.with_columns(pl.col("t") + timedelta(minutes=7)), {}, "readings hold no usable reading (48 off the slot grid). Check calendar.slot_minutes and the times of the readings."),
    "a clock that was reset": (pl.concat([DAY, whole_days(start=datetime(1970, 1, 1))]), {},
        "readings run from 1970-01-01 00:00 to 2025-11-17 23:30, more than 20 years. Mend or leave out the times that cannot be."),
    "a clock far ahead": (pl.concat([DAY, whole_days("8", start=datetime(9999, 12, 1))[:1]]), {},
        "readings run from 2025-11-17 00:00 to 9999-12-01 00:00, more than 20 years. Mend or leave out the times that cannot be."),
    "two cities": (pl.concat([DAY, DAY.with_columns(c=pl.lit("mumbai"))]), {}, "customer '7' is in delhi, mumbai. Give each customer one city, or each meter its own identifier."),
    "many in two cities": (pl.concat([whole_days(k, c) for k in (1, 2, 3) for c in ("delhi", "mumbai")]), {},
        "customer '1' is in delhi, mumbai (3 customers in all are in several). Give each customer one city, or each meter its own identifier."),
    "hourly": (whole_days(minutes=60), {}, "calendar.slot_minutes is 30, but the readings of 1 customer stand 60 minutes apart (customer '7'). Set calendar.slot_minutes to 60, with one spacing for all customers."),
    "every ten minutes": (whole_days(minutes=10), {}, "calendar.slot_minutes is 30, but the readings of 1 customer stand 10 minutes apart (customer '7'). Bring the readings to 15, 30 or 60 minutes, with one spacing for all customers."),
    "no marginal factor": (DAY.with_columns(m=pl.lit(None, pl.Float64)), {}, "columns.marginal 'm' holds no number. Every saving is a difference of marginal factors: give them."),
    "marginal null": (DAY, {"columns": NAMES.model_copy(update={"marginal": None})}, "columns.marginal is null and no factors are given. Name the column of marginal factors, or give factors."),
    "unit": (DAY, {"usage_unit": "kwh"}, "usage_unit 'kwh' is not known (kWh, Wh, kW). Did you mean 'kWh'?"),
    "factor unit": (DAY, {"factor_unit": "tonnes"}, "factor_unit 'tonnes' is not known (g/kWh, kg/MWh, kg/kWh, t/MWh, lb/MWh). Choose one of these."),
    "time label": (DAY, {"time_label": "ends"}, "time_label 'ends' is not known (start, end). Did you mean 'end'?"),
    "plausible limit": (DAY, {"max_plausible_kwh": 0}, "max_plausible_kwh is 0. Give the most kWh that one household can use in half an hour."),
    "parameters of other types": (DAY, {"columns": {"customer": "id"}, "calendar": "Asia/Kolkata", "max_plausible_kwh": "50"},
        "columns is of the type dict. Give a dr_opt.Columns(…).\ncalendar is of the type str. Give a dr_opt.Calendar(…).\n"
        "max_plausible_kwh is 50. Give the most kWh that one household can use in half an hour."),
    "not a source": (42, {}, "readings is of the type int. Give a path, or a polars frame (see polars.from_pandas)."),
    "no file": ("nowhere/meters.parquet", {}, "readings 'nowhere/meters.parquet' does not exist. Check the path."),
    "pattern": ("nowhere/*.csv", {}, "readings 'nowhere/*.csv' matches no file. Check the pattern."),
    "factors disagree": (DAY, {"factors": pl.concat([whole_days(), whole_days().with_columns(m=pl.col("m") + 1)]), "factor_columns": FactorColumns(time="t", marginal="m", average="a")},
        "factors at 2025-11-17 00:00 are given twice: 700 and 600, then 701 and 600 g/kWh. Keep one row for each time, or name the city's column in factor_columns.city."),
    "factors of another year": (DAY, {"factors": whole_days(start=datetime(2024, 1, 1)), "factor_columns": FactorColumns(time="t", marginal="m", average="a")},
        "factors (2024-01-01 to 2024-01-01) hold no marginal factor for the times and cities of the readings (2025-11-17 to 2025-11-17). Every saving is a difference of marginal factors: give them."),
    "factors without zone": (DAY, {"factors": whole_days().with_columns(pl.col("t").dt.replace_time_zone(None)), "factor_columns": FactorColumns(time="t", marginal="m", average="a")},
        "factor_columns.time 't' has times without a time zone. Add it: .with_columns(pl.col(\"t\").dt.replace_time_zone(\"Asia/Kolkata\"))."),
    "factor column": (DAY, {"factors": whole_days(), "factor_columns": FactorColumns(time="t", marginal="mef", average="a")},
        f"factor_columns.marginal names 'mef', which is not among the columns of factors ({COLUMNS_OF_DAY}). Set factor_columns.marginal to the column that holds it."),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_has_its_exact_words(name):
    source, more, words = WRONG[name]
    with pytest.raises(InputError) as error:
        read(source, **more)
    assert str(error.value) == words


def test_wrong_files_have_their_exact_words(tmp_path):
    (tmp_path / "broken.parquet").write_text("not parquet")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "table.xlsx").write_text("")
    (tmp_path / "folder").mkdir()
    DAY.write_parquet(tmp_path / "meters.parquet")

    def words(name: str) -> str:
        with pytest.raises(InputError) as error:
            read(tmp_path / name)
        return str(error.value)

    assert words("metres.parquet") == f"readings '{tmp_path}/metres.parquet' does not exist. Did you mean 'meters.parquet'?"
    assert words("folder") == f"readings '{tmp_path}/folder' is a folder without parquet files. For csv give a pattern, '{tmp_path}/folder/*.csv'."
    assert words("table.xlsx") == (
        f"readings '{tmp_path}/table.xlsx' is neither parquet nor csv. Convert it, or give its name the ending .parquet or .csv."
    )
    assert words("empty.csv") == f"readings '{tmp_path}/empty.csv' cannot be read (empty CSV). Check that it is whole and of the kind its name says."
    assert words("broken.parquet").startswith(f"readings '{tmp_path}/broken.parquet' cannot be read (")
    assert words("broken.parquet").endswith("). Check that it is whole and of the kind its name says.")


def test_every_decision_is_counted():
    frame = DAY
    for row, usage in {3: None, 4: float("nan"), 5: float("inf"), 10: -0.25, 20: 50.0, 21: 50.001}.items():
        frame = with_usage(frame, row, usage)
    at = frame.slice(30, 1)
    frame = pl.concat([
        frame, at, at, frame.slice(31, 1).with_columns(pl.col("u") + 1),
        at.with_columns(id=pl.lit(None, pl.String)), at.with_columns(t=pl.lit(None, frame.schema["t"])), at.with_columns(c=pl.lit(None, pl.String)),
        at.with_columns(pl.col("t") + timedelta(minutes=5)), at.with_columns(pl.col("t") + timedelta(seconds=1)),
    ])  # fmt: skip
    u30, u31 = DAY["u"][30], DAY["u"][31]
    readings = read(frame)
    assert found(readings) == {
        "no customer, time or city": (3, round(3 * u30, 6)), "off the slot grid": (2, round(2 * u30, 6)),
        "exact duplicate": (2, round(2 * u30, 6)), "conflicting duplicate": (2, round(2 * u31 + 1, 6)),
        "usage null or not a number": (3, None), "negative usage": (1, -0.25), "implausible usage": (1, 50.001),
        "reading in an incomplete day": (42, round(readings.frame["usage_kwh"].sum(), 6)),
    }  # fmt: skip
    assert readings.frame["quality"].value_counts().sort("quality").rows() == [("good", 42), ("missing", 6)]
    assert len(readings.frame) == 48 and readings.frame["usage_kwh"].max() == 50
    assert readings.report.facts["rows_read"] == 56 and readings.report.facts["complete_days"] == 0
    missing = readings.frame.filter(pl.col("quality") == "missing")
    assert missing["usage_kwh"].null_count() == 6 and missing["marginal_g_per_kwh"].null_count() == 0
    json.dumps(readings.report.to_dict())
    assert readings.report.to_frame().height == 8 and "negative usage" in readings._repr_html_()


def test_the_report_prints_as_a_table():
    frame = pl.concat([with_usage(whole_days("7", days=30), 10, -0.25), whole_days("8", "mumbai", days=30)])
    assert repr(read(frame).report).splitlines() == [
        "rows read              2,880",
        "readings               2,880",
        "usage                  2,015.500 kWh",
        "customers              2",
        "customers by city      delhi 1, mumbai 1",
        "first time             2025-11-17 00:00:00+05:30",
        "last time              2025-12-16 23:30:00+05:30",
        "slot                   30 minutes",
        "customer days          60",
        "complete days          59",
        "days lacking usage     1",
        "days lacking marginal  0",
        "found                         rows     kWh  what was done",
        "negative usage                   1  -0.250  missing; e.g. customer 7, 2025-11-17 05:00, -0.25 kWh",
        "reading in an incomplete day    47  32.800  gives and receives nothing, counts in loads and references; e.g. customer 7, 2025-11-17",
    ]
    page = read(frame)._repr_html_()
    assert page.count("<table>") == 2 and "<td>2,880</td>" in page and "<td>delhi 1, mumbai 1</td>" in page


def test_a_null_beside_a_value_is_no_conflict():
    readings = read(pl.concat([DAY, DAY.slice(5, 1).with_columns(u=pl.lit(None, pl.Float64))]))
    assert found(readings) == {"exact duplicate": (1, 0.0)}
    assert readings.frame["usage_kwh"].null_count() == 0


def test_the_plausible_limit_follows_the_slot():
    quarter = with_usage(whole_days(minutes=15), 0, 25.1)
    readings = read(quarter, calendar=Calendar(slot_minutes=15))
    assert found(readings)["implausible usage"] == (1, 25.1)


@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_slot_lengths(minutes):
    calendar = Calendar(slot_minutes=minutes)
    days = customer_days(read(whole_days(days=2, minutes=minutes), calendar=calendar))
    assert days["slots"].to_list() == [24 * 60 // minutes] * 2 and days["complete"].all()


@pytest.mark.parametrize(("day", "slots"), [(date(2025, 10, 26), 50), (date(2026, 3, 29), 46), (date(2025, 11, 17), 48)])
def test_days_on_which_the_clocks_change(day, slots):
    zone = ZoneInfo("Europe/Zurich")
    start, end = (datetime(d.year, d.month, d.day, tzinfo=zone) for d in (day, day + timedelta(days=1)))
    time = pl.datetime_range(start, end, "30m", closed="left", eager=True)
    frame = pl.DataFrame({"t": time}).with_columns(id=pl.lit(1), c=pl.lit("bern"), u=pl.lit(1), m=pl.lit(100), a=pl.lit(90))
    swiss = Calendar(timezone="Europe/Zurich")
    row = customer_days(read(frame, calendar=swiss)).row(0, named=True)
    assert (row["slots"], row["rows"], row["usable"], row["complete"]) == (slots, slots, slots, True)
    assert not customer_days(read(frame.head(-1), calendar=swiss))["complete"][0]
    as_utc = read(frame.with_columns(pl.col("t").dt.convert_time_zone("UTC")), calendar=swiss)
    assert as_utc.fingerprint == read(frame, calendar=swiss).fingerprint
    assert as_utc.report.notes == ("Times in UTC were converted to Europe/Zurich.",)


def test_counting_days_that_wrap_or_leave_out_the_night():
    frame = whole_days(days=2)
    night = customer_days(read(frame, calendar=Calendar(day_boundaries=(6, 5))))
    assert night.select("day", "slots", "usable", "complete").rows() == [
        (date(2025, 11, 16), 48, 12, False), (date(2025, 11, 17), 48, 48, True), (date(2025, 11, 18), 48, 36, False),
    ]  # fmt: skip
    daytime = customer_days(read(with_usage(frame, 2, None), calendar=Calendar(day_boundaries=(8, 20))))
    assert daytime["slots"].to_list() == [26, 26] and daytime["complete"].all()


def test_days_without_rows_are_incomplete_days():
    frame = whole_days(days=3).filter(pl.col("t").dt.date() != date(2025, 11, 18))
    readings = read(frame)
    assert customer_days(readings).select("rows", "lacking_usage", "complete").rows() == [(48, 0, True), (0, 48, False), (48, 0, True)]
    assert found(readings) == {"slot without a row": (48, None)}
    assert readings.report.facts["days_lacking_usage"] == 1


def test_units():
    plain = read(DAY).frame
    for unit, factor in {"Wh": 1000.0, "kW": 2.0}.items():
        assert_frame_equal(read(DAY.with_columns(pl.col("u") * factor), usage_unit=unit).frame, plain)
    grams = {"kg/MWh": 1.0, "kg/kWh": 1000.0, "t/MWh": 1000.0, "lb/MWh": 0.45359237}
    for unit, factor in grams.items():
        factors = read(DAY, factor_unit=unit, max_plausible_kwh=50).frame["marginal_g_per_kwh"]
        assert factors.to_list() == pytest.approx((plain["marginal_g_per_kwh"] * factor).to_list())


def test_the_label_at_the_end_is_moved_back():
    ended = DAY.with_columns(pl.col("t") + timedelta(minutes=30))
    assert read(ended, time_label="end").frame.equals(read(DAY).frame)


def test_other_types_of_columns_make_the_same_readings():
    plain = read(DAY).fingerprint
    assert read(DAY.with_columns(pl.col("id").cast(pl.Int64))).fingerprint == plain
    assert read(DAY.with_columns(pl.col("id", "c").cast(pl.Categorical))).fingerprint == plain
    assert read(DAY.with_columns(pl.col("c").cast(pl.Enum(["mumbai", "delhi"])))).fingerprint == plain
    assert read(DAY.with_columns(pl.col("t").dt.cast_time_unit("ns"))).fingerprint == plain
    assert read(DAY.with_columns(pl.col("t").dt.cast_time_unit("ms").dt.convert_time_zone("UTC"))).fingerprint == plain
    assert read(DAY.with_columns(pl.col("u", "m").cast(pl.String))).fingerprint == plain
    assert read(DAY.lazy()).fingerprint == plain
    assert read(DAY.drop("c"), columns=NAMES.model_copy(update={"city": None}), city_name="delhi").fingerprint == plain
    assert read(with_usage(DAY, 0, 0.51)).fingerprint != plain
    assert read(DAY.with_columns(m=pl.col("m") + 1e-9)).fingerprint != plain
    whole = DAY.with_columns(u=pl.lit(1))
    assert read(whole).fingerprint == read(whole.with_columns(pl.col("u").cast(pl.Float32))).fingerprint


def test_files_of_every_kind_make_the_same_readings(tmp_path):
    frame = pl.concat([with_usage(whole_days(k, city), 7, None) for k, city in (("007", "delhi"), ("8", "mumbai"), ("12", "delhi"))])
    plain = read(frame.sort("c", "id", "t"))
    assert read(frame.sample(fraction=1, shuffle=True, seed=3)).fingerprint == plain.fingerprint
    frame.write_parquet(tmp_path / "one.parquet")
    frame.write_csv(tmp_path / "one.csv")
    for form, name in (("%Y-%m-%d %H:%M:%S%:z", "offset"), ("%Y-%m-%dT%H:%M%z", "short")):
        frame.with_columns(pl.col("t").dt.strftime(form)).write_csv(tmp_path / f"{name}.csv", null_value="NA")
    utc = pl.col("t").dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    frame.with_columns(utc).write_csv(tmp_path / "zulu.csv")
    (tmp_path / "many").mkdir()
    for k, part in enumerate(frame.partition_by("id")):
        part = part if k else part.with_columns(pl.col("c").cast(pl.Categorical), pl.col("t").dt.convert_time_zone("UTC"))
        part.write_parquet(tmp_path / f"many/part{k}.parquet")
        part.write_csv(tmp_path / f"many/part{k}.csv")
    for name in ("one.parquet", "one.csv", "offset.csv", "short.csv", "zulu.csv", "many", "many/*.parquet", "many/part?.csv"):
        assert read(tmp_path / name).frame.equals(plain.frame), name
        assert read(str(tmp_path / name)).fingerprint == plain.fingerprint, name
    assert plain.frame["customer_id"].unique(maintain_order=True).to_list() == ["007", "12", "8"]


def test_names_with_brackets_are_names(tmp_path):
    folder = tmp_path / "meters [2025]"
    folder.mkdir()
    DAY.write_parquet(folder / "day?[1].parquet")
    DAY.with_columns(pl.lit("8").alias("id")).write_parquet(folder / "day11.parquet")
    DAY.with_columns(TEXT_TIME + "+05:30").write_csv(folder / "day*.csv")
    for name in ("day?[1].parquet", "day*.csv"):
        assert read(folder / name).frame.equals(read(DAY).frame)


def test_hidden_files_of_a_folder_are_not_read(tmp_path):
    (tmp_path / ".checkpoints").mkdir()
    DAY.write_parquet(tmp_path / "day.parquet")
    DAY.with_columns(u=pl.col("u") + 1).write_parquet(tmp_path / ".checkpoints" / "day.parquet")
    (tmp_path / "._day.parquet").write_bytes(b"what another system keeps of a file")
    readings = read(tmp_path)
    assert readings.report.facts["rows_read"] == len(DAY) and readings.frame.equals(read(DAY).frame)


def test_a_folder_partitioned_by_city(tmp_path):
    for city in ("delhi", "mumbai"):
        (tmp_path / f"c={city}").mkdir()
        whole_days(city[0], city).drop("c").write_parquet(tmp_path / f"c={city}/part.parquet")
    assert read(tmp_path).report.facts["customers_by_city"] == {"delhi": 1, "mumbai": 1}


def test_shape_of_the_frame():
    frame = read(DAY).frame
    assert frame.columns == ["customer_id", "city", "time", "usage_kwh", "marginal_g_per_kwh", "average_g_per_kwh", "quality"]
    assert frame.schema["time"] == pl.Datetime("us", "Asia/Kolkata") and frame.schema["quality"] == pl.Enum(["good", "missing", "filled"])


def test_factors_are_shared_within_a_city():
    two = pl.concat([DAY, whole_days("8").with_columns(pl.when(pl.col("m") < 705).then(None).otherwise("m").alias("m"))])
    readings = read(two)
    assert found(readings)["factor lacking in the row"][0] == 10
    assert shared_factors(readings.frame) == {"delhi": True} and customer_days(readings)["complete"].all()
    assert readings.factors.select("time", "marginal_g_per_kwh").rows() == DAY.select("t", "m").rows()
    own = pl.concat([DAY, whole_days("8").with_columns(m=pl.col("m") + 1)])
    lacking = own.with_columns(pl.when((pl.col("id") == "8") & (pl.col("a") > 595)).then(None).otherwise("m").alias("m"))
    readings = read(lacking)
    assert shared_factors(readings.frame) == {"delhi": False} and readings.factors.is_empty()
    assert found(readings)["marginal factor missing"][0] == 10 and customer_days(readings)["complete"].to_list() == [True, False]


OWN_TABLE = FactorColumns(time="t", marginal="m", average="a")


def test_factors_of_another_rhythm():
    plain = read(DAY).frame
    assert read(DAY.drop("m", "a"), factors=DAY, factor_columns=OWN_TABLE).frame.equals(plain)
    hourly = read(DAY, factors=whole_days(minutes=60), factor_columns=OWN_TABLE)
    assert hourly.frame.equals(plain)  # the factors of whole_days change with the hour
    assert "The factors of delhi come every 60 minutes: each holds its value over the slots it spans." in hourly.report.notes
    fine = whole_days(minutes=5).with_columns(m=pl.col("m") + pl.Series([0.0, 6.0] * 144))
    finer = read(DAY, factors=fine, factor_columns=OWN_TABLE)
    assert finer.frame["marginal_g_per_kwh"].to_list() == pytest.approx((plain["marginal_g_per_kwh"] + 3).to_list())
    assert "The factors of delhi come every 5 minutes: those of one slot are averaged." in finer.report.notes
    short = read(DAY, factors=whole_days(minutes=60).head(23), factor_columns=OWN_TABLE)
    assert short.frame["marginal_g_per_kwh"].null_count() == 2  # a factor does not hold beyond its step


def test_factors_by_city():
    two = pl.concat([DAY, whole_days("8", "mumbai"), whole_days("9", "pune")])
    factors = pl.concat([DAY, whole_days("8", "mumbai").with_columns(pl.col("m") + 50)])
    readings = read(two, factors=factors, factor_columns=FactorColumns(time="t", city="c", marginal="m", average="a"))
    means = readings.frame.group_by("city", maintain_order=True).agg(pl.col("marginal_g_per_kwh").mean()).rows()
    assert means == [("delhi", 711.5), ("mumbai", 761.5), ("pune", None)]
    assert any("pune" in note for note in readings.report.notes)


def test_no_average_and_odd_figures_are_noted():
    readings = read(DAY.drop("a"), columns=NAMES.model_copy(update={"average": None}))
    assert readings.report.notes == ("There are no average factors: the average figures are left out.",)
    assert found(readings) == {}
    notes = read(DAY.with_columns(pl.col("u") * 40, pl.col("m") / 1000)).report.notes
    assert notes == (
        "A customer uses 1,332 kWh on a mean complete day, which looks like Wh. Check usage_unit.",
        "The median marginal factor is 0.7115 g/kWh, which looks like kg/kWh. Check factor_unit.",
    )
    negative = read(DAY.with_columns(pl.when(pl.col("m") == 700).then(-5.0).otherwise("m").alias("m")))
    assert negative.report.notes == ("2 readings have a negative marginal factor. They are used as they are.",)


def gaps(*rows: int) -> pl.DataFrame:
    """Two days without the usage of some rows, the first of them absent altogether."""
    return whole_days(days=2).with_columns(pl.when(~pl.int_range(pl.len()).is_in(rows)).then("u").alias("u")).filter(pl.int_range(pl.len()) != rows[0])


def test_gaps_of_two_slots_are_filled_and_longer_ones_not():
    two = handle_missing(read(gaps(10, 11)), "interpolate")  # 0.9 before, 0.7 after
    assert two.frame["usage_kwh"][9:13].round(9).to_list() == pytest.approx([0.9, 0.9 - 0.2 / 3, 0.9 - 0.4 / 3, 0.7])
    assert two.frame["quality"][9:13].to_list() == ["good", "filled", "filled", "good"]
    assert found(two)["usage filled"] == (2, 1.6) and "reading in an incomplete day" not in found(two)
    assert customer_days(two)["complete"].to_list() == [True, True]
    three = handle_missing(read(gaps(11, 10, 12)), "interpolate")
    assert len(three.frame) == 95 and three.frame["usage_kwh"].null_count() == 2 and "usage filled" not in found(three)
    assert found(three)["slot without a row"] == (1, None)
    for readings in (two, three):
        again = handle_missing(readings, "interpolate")
        assert again.fingerprint == readings.fingerprint and again.report == readings.report
    before = read(gaps(10, 11))
    assert handle_missing(before, "skip_day") is before
    edge = handle_missing(read(with_usage(DAY, 47, None)), "interpolate")  # nothing after it to draw a line to
    assert edge.frame["quality"][47] == "missing"


def test_factor_gaps_are_filled_and_only_the_marginal_one_marks_the_row():
    at = pl.int_range(pl.len())
    frame = DAY.with_columns(m=pl.when(~at.is_in([10, 11, 20, 21, 22])).then("m"), a=pl.when(at != 30).then("a"))
    filled = handle_missing(read(frame), "interpolate")
    assert filled.frame["marginal_g_per_kwh"][9:13].to_list() == pytest.approx([704, 704 + 2 / 3, 704 + 4 / 3, 706])
    assert filled.frame["quality"].to_list() == ["filled" if k in (10, 11) else "good" for k in range(48)]
    assert filled.frame["average_g_per_kwh"].null_count() == 0
    counts = found(filled)
    assert counts["marginal factor filled"] == (2, round(frame["u"][10] + frame["u"][11], 6))
    assert counts["average factor filled"] == (1, round(frame["u"][30], 6))
    assert counts["marginal factor missing"][0] == 3 and "average factor missing" not in counts


def test_a_filled_slot_takes_the_factor_that_is_known():
    absent = DAY.filter(pl.int_range(pl.len()) != 10).drop("m", "a")
    steep = DAY.with_columns(m=pl.when(pl.int_range(pl.len()) == 10).then(2000.0).otherwise("m"))
    filled = handle_missing(read(absent, factors=steep, factor_columns=OWN_TABLE), "interpolate")
    assert filled.frame["marginal_g_per_kwh"][10] == 2000 and filled.frame["quality"][10] == "filled"
    own = pl.concat([absent.with_columns(m=pl.lit(700.0), a=pl.lit(600.0)), whole_days("8").with_columns(m=pl.lit(800.0), a=pl.lit(600.0))])
    filled = handle_missing(read(own), "interpolate")
    assert filled.frame["marginal_g_per_kwh"][10] == 700 and customer_days(filled)["complete"].all()


def test_gaps_are_refused_by_name():
    with pytest.raises(InputError) as error:
        handle_missing(read(gaps(10, 11, 12, 60)), "error")
    assert str(error.value) == (
        "missing is 'error' and 4 slots lack usage or marginal factor (customer 7, 2025-11-17 05:00; customer 7, 2025-11-17 05:30; "
        "customer 7, 2025-11-17 06:00; and 1 more). Mend the data, or set missing to skip_day or interpolate."
    )
    assert handle_missing(read(DAY), "error").fingerprint == read(DAY).fingerprint
    with pytest.raises(InputError, match=r"missing 'skip' is not known \(skip_day, interpolate, error\). Did you mean 'skip_day'\?"):
        handle_missing(read(DAY), "skip")


@needs_data
def test_the_research_readings():
    readings = read_readings(DATA / "readings_research_schema.parquet")
    facts = readings.report.facts
    assert facts["customers_by_city"] == {"delhi": 300, "mumbai": 93} and facts["readings"] == 528_192
    assert (facts["customer_days"], facts["complete_days"], facts["days_lacking_marginal"]) == (11_004, 9_432, 1_572)
    assert found(readings) == {
        "marginal factor missing": (38_514, 25_103.702), "reading in an incomplete day": (75_456, 45_034.624),
        "average factor missing": (38_514, 25_103.702),
    }  # fmt: skip
    assert shared_factors(readings.frame) == {"delhi": True, "mumbai": True}
    filled = handle_missing(readings, "interpolate")
    assert found(filled)["marginal factor filled"] == (786, 306.358) and filled.report.facts["complete_days"] == 10_218


@needs_data
def test_the_households_with_factors_of_their_own_table():
    weeks = timedelta(days=(date(2025, 10, 27) - date(2018, 10, 29)).days)
    households = pl.read_parquet(DATA / "households_ch.parquet").with_columns(
        (pl.col("time").dt.replace_time_zone(None) + weeks).dt.replace_time_zone("Asia/Kolkata")
    )
    columns = Columns(customer="customer_id", time="time", city=None, usage="usage_kwh")
    readings = read_readings(households, factors=DATA / "grid_india_halfhourly.parquet", columns=columns)
    assert readings.report.facts["customers_by_city"] == {"city": 537}
    assert found(readings)["negative usage"][0] == 8 and found(readings)["marginal factor missing"][0] == 52_623
    assert (readings.report.facts["customer_days"], readings.report.facts["complete_days"]) == (15_036, 12_884)


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_a_csv_without_commas(mark: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(mark.join(["ca_id", "date", "value"]) + "\n" + mark.join(["a", "2025-11-03T00:00+05:30", "1,5"]) + "\n")
    with pytest.raises(InputError) as wrong:
        read_readings(tmp_path / "r.csv", show_progress=False)
    assert len(wrong.value.faults) == 1
    assert f"separated by {mark!r}. Save it with commas." in str(wrong.value)
